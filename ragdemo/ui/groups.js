// The groups of the visitor's own library: a button removes one, a changed name renames it.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-group]");
  if (button) trigger("click", {act: "remove", id: button.dataset.group});
});
element.addEventListener("change", (event) => {
  const {group} = event.target.dataset;
  if (group) trigger("click", {act: "rename", id: group, name: event.target.value});
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input")) event.target.blur();
});
