// The picture follows the typing: `props.value` is new whenever what is asked for has changed by hand, and null while the
// chosen method is too slow for that. The server is asked once the hands rest.
const REST = 100;  // milliseconds
let resting;
watch("value", () => {
  clearTimeout(resting);
  if (props.value) resting = setTimeout(() => trigger("submit"), REST);
});
