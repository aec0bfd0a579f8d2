// For the blocks that show a run: their buttons reach Python as the data of an event. `element`, `props`, `trigger`
// and `watch` are Gradio's; what is written here into a template's output is gone once the block's value changes.
const divide = (range) => range.parentElement.style.setProperty("--at", range.value + "%");

async function copy(button) {
  const link = location.origin + location.pathname + button.dataset.link;
  const place = button.parentElement.querySelector("output");
  try {
    await navigator.clipboard.writeText(link);
    place.textContent = "Copied" + (button.dataset.ownPictures
      ? "; your own pictures can't travel in a link, the saved picture names them" : "");
  } catch {  // a page that came by plain http has no clipboard
    const field = Object.assign(document.createElement("input"), {readOnly: true, value: link, ariaLabel: "Link to copy"});
    place.replaceChildren(field);
    field.select();
  }
}

const buttons = () => [...element.querySelectorAll("[data-act]")];
const disable = (place) => element.closest(place) &&
  document.querySelectorAll(`${place} [data-act]`).forEach((button) => { button.ariaDisabled = "true"; });
let pressed;  // the last button's id and place: its press has the block rendered anew, without the focus
function refocus() {
  const all = buttons();
  if (!pressed || !all.length) return;
  const next = all.find((button) => button.dataset.id === pressed.id) ?? all[pressed.place] ?? all.at(-1);
  if (document.activeElement === document.body) next.focus({preventScroll: true});
  pressed = null;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.ariaDisabled) return;
  if (button.dataset.act) {
    pressed = {id: button.dataset.id, place: buttons().indexOf(button)};
    trigger("click", {act: button.dataset.act, id: button.dataset.id});
    disable("#story");  // until this press is answered, another would not be taken
  }
  if (button.dataset.ownRemove) own({act: "remove", id: button.dataset.ownRemove});
  if (button.dataset.ask) ask(button.dataset.ask);
  if ("invent" in button.dataset) invent(button.dataset);
  if ("pictures" in button.dataset) opened("#own-pictures", "#own input[type=file]").then((field) => field.click());
  if ("keep" in button.dataset) trigger("download");
  if (button.dataset.link) copy(button);
  if ("enlarge" in button.dataset) enlarge(button.parentElement);
});
async function enlarge(wipe) {
  if (document.fullscreenElement) return document.exitFullscreen();
  await wipe.requestFullscreen();
  wipe.querySelector("input").focus();  // so that arrows move it
}
// What a run offers where the models know nothing: another prompt, or the place where the thing can be shown to them.
const fill = (field, value) => { field.value = value; field.dispatchEvent(new Event("input", {bubbles: true})); };
function ask(prompt) {
  fill(document.querySelector("#prompt textarea"), prompt);
  document.querySelector("#run").click();
}
async function opened(place, wanted) {
  const found = () => document.querySelector(`${place} ${wanted}`);
  if (!found()?.offsetParent) document.querySelector(`${place} > button`)?.click();
  for (let tries = 0; tries < 50 && !found(); tries++) await new Promise((next) => setTimeout(next, 20));
  document.querySelector(place).scrollIntoView({block: "nearest"});
  return found();
}
async function invent({invent: name, kind}) {
  const field = await opened("#invent", "input[name=name]");
  fill(field, name);
  field.form.querySelector(`[name=kind][value="${kind}"]`)?.click();
  field.focus();
}
// One's own pictures are changed in one place, whatever block they are shown in.
const own = (detail) => document.dispatchEvent(new CustomEvent("own", {detail}));
element.addEventListener("change", ({target}) => {
  if (target.dataset.own) own({act: "name", id: target.dataset.own, name: target.value});
  if ("add" in target.dataset)
    document.dispatchEvent(new CustomEvent("own-files", {detail: [...target.files]}));
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.dataset.own) event.target.blur();
});
element.addEventListener("input", (event) => {
  if (event.target.type === "range") divide(event.target);
});
// the pictures come without their style, and the input stays where it stood
watch("value", () => {
  element.querySelectorAll(".wipe input").forEach(divide);
  refocus();
  if (document.querySelector("#stop:not([hidden])")) disable("#story");
});
