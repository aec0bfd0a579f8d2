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
watch("value", () => {
  const {phase, link, busy} = props.value;
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
