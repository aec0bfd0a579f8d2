// The result patch by patch: pointing, tapping or arrow keys choose one. A cell of the trace is
// [source, row, column, chance that it was retrieved, [[the model's chance], …], [[source, row, column, chance], …]],
// chances in per cent; source −1 is a picture that is not shown here.
(() => {
  const partsOf = (node) => node.closest(".parts");
  const traceOf = (parts) => JSON.parse(parts.dataset.trace);
  const sideOf = (parts) => Number(parts.dataset.grid);
  const captionOf = (parts, source) => parts.querySelectorAll(".givers .caption")[source]?.textContent ?? "another picture";

  function warm(parts, source = -1) {
    const canvas = parts.querySelector(".board canvas"), side = sideOf(parts);
    canvas.width = canvas.height = side;
    const pixels = new ImageData(side, side);
    traceOf(parts).forEach(([from, , , chance], place) => {
      const shown = source < 0 ? from >= 0 : from === source;
      pixels.data.set([255, 106, 0, shown ? Math.round(1.5 * chance) : 0], 4 * place);
    });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function crop(parts, source, row, column) {
    const canvas = Object.assign(document.createElement("canvas"), {width: 8, height: 8});
    const image = parts.querySelectorAll(".giver img")[source];
    if (!image) return canvas;
    const edge = Math.min(image.naturalWidth, image.naturalHeight), size = edge / sideOf(parts);
    const left = (image.naturalWidth - edge) / 2 + column * size, top = (image.naturalHeight - edge) / 2 + row * size;
    canvas.getContext("2d").drawImage(image, left, top, size, size, 0, 0, 8, 8);
    return canvas;
  }

  function frame(mark, side, row, column) {
    mark.hidden = false;
    const part = 100 / side;
    Object.assign(mark.style, {left: column * part + "%", top: row * part + "%", width: part + "%", height: part + "%"});
  }

  function cell(text, picture) {
    const td = document.createElement("td");
    if (picture) td.append(picture);
    td.append(text);
    return td;
  }

  function table(parts, [, , , , model, found]) {
    const grid = document.createElement("table"), head = grid.insertRow();
    for (const title of ["the model alone", "retrieved"])
      head.append(Object.assign(document.createElement("th"), {textContent: title, scope: "col"}));
    model.forEach(([chance], place) => {
      const row = grid.insertRow(), other = found[place];
      row.append(cell(chance + " %"));
      row.append(other ? cell(other[3] + " %", crop(parts, ...other)) : cell("–"));
    });
    return grid;
  }

  function show(parts, place) {
    const side = sideOf(parts), row = Math.floor(place / side), column = place % side;
    const patch = traceOf(parts)[place], [source, there, beside, chance] = patch;
    parts.dataset.place = place;
    frame(parts.querySelector(".board i"), side, row, column);
    parts.querySelectorAll(".giver i").forEach((mark, number) => {
      if (number === source) frame(mark, side, there, beside);
      else mark.hidden = true;
    });
    const words = document.createElement("span");
    words.textContent = source < 0 ? `Row ${row + 1}, column ${column + 1}: the model's own.`
      : `Row ${row + 1}, column ${column + 1}: ${chance} % from “${captionOf(parts, source)}”, ` +
        `row ${there + 1}, column ${beside + 1}.`;
    const detail = [words];
    if (patch[5].length) detail.push(table(parts, patch));
    parts.querySelector(".detail").replaceChildren(...detail);
  }

  function pointed(event) {
    const board = event.target.closest?.(".provenance .board");
    if (!board) return;
    const box = board.getBoundingClientRect(), side = sideOf(partsOf(board));
    const at = (offset, size) => Math.min(side - 1, Math.max(0, Math.floor(side * offset / size)));
    const place = side * at(event.clientY - box.top, box.height) + at(event.clientX - box.left, box.width);
    if (String(place) !== partsOf(board).dataset.place) show(partsOf(board), place);
  }

  element.addEventListener("pointermove", pointed);
  element.addEventListener("pointerdown", pointed);
  element.addEventListener("focusin", (event) => {
    const board = event.target.closest(".provenance .board");
    if (board && !partsOf(board).dataset.place) show(partsOf(board), 0);
  });
  element.addEventListener("keydown", (event) => {
    const board = event.target.closest(".provenance .board"), step = {ArrowLeft: [0, -1], ArrowRight: [0, 1],
      ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!board || !step) return;
    event.preventDefault();
    const parts = partsOf(board), side = sideOf(parts), place = Number(parts.dataset.place);
    const within = (value) => Math.min(side - 1, Math.max(0, value));
    show(parts, side * within(Math.floor(place / side) + step[0]) + within(place % side + step[1]));
  });
  element.addEventListener("click", (event) => {
    const giver = event.target.closest(".giver");
    if (!giver) return;
    const pressed = giver.getAttribute("aria-pressed") === "true", parts = partsOf(giver);
    parts.querySelectorAll(".giver").forEach((one) => one.setAttribute("aria-pressed", String(one === giver && !pressed)));
    warm(parts, pressed ? -1 : Number(giver.dataset.source));
  });
  const fresh = () => element.querySelectorAll(".provenance .parts").forEach((parts) => warm(parts));
  watch("value", fresh);
  fresh();
})();
