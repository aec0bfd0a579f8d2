// For the blocks that show a run: their buttons reach Python as the data of an event. `element`, `props`, `trigger`
// and `watch` are Gradio's; what is written here into a template's output is gone once the block's value changes.
const divide = (range) => range.parentElement.style.setProperty("--at", range.value + "%");

async function copy(button) {
  const link = location.origin + location.pathname + button.dataset.link;
  const place = button.parentElement.querySelector("output");
  try {
    await navigator.clipboard.writeText(link);
    place.textContent = "Copied";
  } catch {  // a page that came by plain http has no clipboard
    const field = Object.assign(document.createElement("input"), {readOnly: true, value: link, ariaLabel: "Link to copy"});
    place.replaceChildren(field);
    field.select();
  }
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.ariaDisabled) return;
  if (button.dataset.act) trigger("click", {act: button.dataset.act, id: button.dataset.id});
  if ("keep" in button.dataset) trigger("download");
  if (button.dataset.link) copy(button);
  if ("enlarge" in button.dataset)
    document.fullscreenElement ? document.exitFullscreen() : button.parentElement.requestFullscreen();
});
element.addEventListener("input", (event) => {
  if (event.target.type === "range") divide(event.target);
});
// the pictures come without their style, and the input stays where it stood
watch("value", () => element.querySelectorAll(".wipe input").forEach(divide));
