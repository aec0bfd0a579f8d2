// Run, Stop and the line below them. `props.value` says how the run stands: `phase`, `text` (HTML), `link` and `busy`,
// which is true from the press until the server has said its last word.
let running = false;  // on this page: what a page before it has left is read when it opens
const remember = (busy) => {
  try { if (busy || running) sessionStorage.setItem("running", busy ? "yes" : ""); } catch {}
  running = busy;
  // a press that would not be taken; not `disabled`, which takes the focus
  for (const button of document.querySelectorAll("#story [data-act]")) button.ariaDisabled = busy ? "true" : null;
};
const say = (changed) => { props.value = {...props.value, ...changed}; remember(props.value.busy); };
let stopping = "";  // the phase in which Stop was pressed
let pressed = false;  // Run was pressed while the last run was being ended

function start(act) {
  say({phase: "starting", text: "Starting …", busy: true});
  trigger("submit", {act});
  // on a phone the run is below the fold
  if (matchMedia("(max-width: 780px)").matches) document.querySelector("#row").scrollIntoView({block: "start"});
}
function run() {
  if (!props.value.busy) start("run");
  else pressed = stopping || !["starting", "waiting", "running"].includes(props.value.phase);
}
element.addEventListener("click", (event) => {
  if (event.target.closest("#run")) run();
  if (event.target.closest("#stop")) {
    stopping ||= props.value.phase;
    say({phase: "stopping", text: "Stopping …"});
    trigger("stop");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !element.offsetParent) return;
  event.preventDefault();
  run();
});
// What stands in the column may be another wish than that of the run which is shown.
const title = (method) => document.querySelector(`#method [value="${method}"]`)?.parentElement.textContent.trim() ?? method;
function mark() {
  const note = document.querySelector("#stale p"), shown = new URLSearchParams(props.value.link);
  const asked = {
    prompt: document.querySelector("#prompt textarea").value.replace(/\s+/g, " ").trim(),
    method: document.querySelector("#method input:checked")?.value,
    seed: document.querySelector("#seed input").value,
  };
  const isOld = props.value.link && Object.keys(asked).some((name) => asked[name] !== shown.get(name));
  const text = isOld ? `Below is the run of “${shown.get("prompt")}” by ${title(shown.get("method"))}, seed ${shown.get("seed")}: ` +
    "Use, Reject and Check it act on that one. Run draws what stands here now." : "";
  if (note && note.textContent !== text) note.textContent = text;
}
for (const kind of ["input", "change"])
  document.addEventListener(kind, ({target}) => { if (target.closest("#prompt, #method, #seed")) setTimeout(mark); });
// Gradio gives each radio button a name of its own, so that the browser does not move between them.
document.addEventListener("keydown", (event) => {
  const all = [...document.querySelectorAll("#method input")], place = all.indexOf(event.target);
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (place < 0 || !step) return;
  event.preventDefault();
  const next = all[(place + step + all.length) % all.length];
  next.click();
  next.focus();
});
watch("value", () => {
  const {phase, link, busy} = props.value;
  setTimeout(mark, 60);  // what comes with it stands in the fields by then
  remember(busy);
  if (busy && link && link !== location.search) history.replaceState(null, "", link);
  if (phase === "opened") start("redraw");
  if (phase === "own") start("own");
  if (stopping === "starting" && ["waiting", "running"].includes(phase)) {  // Stop was there before the run
    stopping = phase;
    trigger("stop");
  }
  if (busy) return;
  const again = pressed;
  stopping = "";
  pressed = false;
  if (again) start("run");
});
