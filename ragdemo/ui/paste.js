// A picture that is pasted while the tab is shown takes the way of an upload. `props.value` are the files of the last
// paste as a file component holds them.
document.addEventListener("paste", async (event) => {
  const {types, files} = event.clipboardData;
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  // what is copied from a table is a text and its picture: a field takes the text
  const isText = types.includes("text/plain") && event.target.matches("input, textarea");
  if (!pictures.length || isText || !element.closest("#ask").offsetParent) return;
  event.preventDefault();
  const uploaded = async (file) =>
    ({...await upload(file), orig_name: file.name, meta: {_type: "gradio.FileData"}});
  props.value = await Promise.all(pictures.map(uploaded));
  trigger("upload");
});
