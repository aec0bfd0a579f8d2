// The picture follows the typing. `props.value.follows` says whether the chosen method is quick enough for that; `at` is
// new when something else than a key has changed what is asked for. The server is asked once the hands rest.
const REST = 100;  // milliseconds
let resting, seen = null;
function rest() {
  clearTimeout(resting);
  resting = setTimeout(() => { if (props.value.follows) trigger("submit"); }, REST);
}
// not Gradio's own `input`, which a paste or a dictated text does not raise
document.addEventListener("input", ({target}) => { if (target.closest("#prompt, #seed")) rest(); });
watch("value", () => {
  const {at} = props.value;
  if (at && at !== seen) rest();
  seen = at;
});
