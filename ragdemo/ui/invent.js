// The form of "Invent one": what is chosen reaches Python as the data of an event.
const choice = () => Object.fromEntries(new FormData(element.querySelector("form")));
element.addEventListener("change", (event) => {
  if (event.target.name !== "name") trigger("input", {choice: choice()});
});
element.addEventListener("click", (event) => {
  if (event.target.closest("[data-roll]")) trigger("click");
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  trigger("submit", {choice: choice()});
});
