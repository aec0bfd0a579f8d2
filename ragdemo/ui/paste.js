// Pictures that are pasted while the tab is shown, or chosen in a card of the run, take the way of an upload.
// `props.value` are the last files as a file component holds them.
const taken = async (files) => {
  const uploaded = async (file) =>
    ({...await upload(file), orig_name: file.name, meta: {_type: "gradio.FileData"}});
  props.value = await Promise.all(files.map(uploaded));
  trigger("upload");
};
document.addEventListener("own-files", ({detail}) => { if (detail.length) taken(detail); });
document.addEventListener("paste", (event) => {
  const {types, files} = event.clipboardData;
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  // what is copied from a table is a text and its picture: a field takes the text
  const isText = types.includes("text/plain") && event.target.matches("input, textarea");
  if (!pictures.length || isText || !element.closest("#ask").offsetParent) return;
  event.preventDefault();
  taken(pictures);
});
