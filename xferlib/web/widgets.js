// The widgets of a page without a kernel: see xferlib/widgets. Without this script their first picture stands.
(() => {
  "use strict";

  // A picture with controls. The frames stand in the order of the controls, the last one running fastest.
  function explore(figure) {
    const stage = figure.querySelector(".xf-stage");
    const caption = figure.querySelector("figcaption");
    const inputs = [...figure.querySelectorAll(".xf-controls input, .xf-controls select")];
    const frames = [...figure.querySelectorAll(".xf-frames > *")];
    const image = stage.querySelector("img");
    const first = image && image.src;

    const count = (input) => (input.options ? input.options.length : Number(input.max) + 1);
    const choice = (input) => (input.options ? input.selectedIndex : Number(input.value));

    function address(frame) {
      const content = frame.dataset.frame;
      if (content === "#0") return first;
      return content.startsWith("#") ? frames[Number(content.slice(1))].dataset.frame : content;
    }

    function show() {
      const frame = frames[inputs.reduce((index, input) => index * count(input) + choice(input), 0)];
      for (const input of inputs.filter((input) => input.dataset.labels)) {
        const label = JSON.parse(input.dataset.labels)[choice(input)];
        input.setAttribute("aria-valuetext", label);
        input.closest(".xf-control").querySelector(".xf-value").textContent = label;
      }
      if (image) {
        image.src = address(frame);
        image.alt = frame.dataset.alt;
        image.width = frame.dataset.width;
        image.height = frame.dataset.height;
      } else {
        stage.firstElementChild.innerHTML = frame.dataset.html;
      }
      if (caption.textContent !== frame.dataset.alt) caption.textContent = frame.dataset.alt;
    }

    for (const input of inputs) input.addEventListener("input", show);
    figure.querySelector(".xf-controls").hidden = false;
  }

  // Two pictures with a divider. The range input gives keyboard and screen reader their way; a pointer sets it too.
  function compare(figure) {
    const pair = figure.querySelector(".xf-pair");
    const input = pair.querySelector("input");

    function show() {
      pair.style.setProperty("--xf-split", `${input.value}%`);
      input.setAttribute("aria-valuetext", `${input.value} % ${input.dataset.label}`);
    }

    function follow(event) {
      const box = pair.getBoundingClientRect();
      input.value = Math.round((100 * (event.clientX - box.left)) / box.width);
      show();
    }

    let from = null; // where a finger came down that may be about to scroll
    pair.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      pair.setPointerCapture(event.pointerId);
      input.focus({ preventScroll: true });
      from = event.pointerType === "touch" ? event : null;
      if (!from) follow(event);
    });
    pair.addEventListener("pointermove", (event) => {
      if (from && Math.abs(event.clientX - from.clientX) <= Math.abs(event.clientY - from.clientY)) return;
      from = null;
      if (pair.hasPointerCapture(event.pointerId)) follow(event);
    });
    pair.addEventListener("pointerup", (event) => {
      if (pair.hasPointerCapture(event.pointerId)) follow(event);
    });
    input.addEventListener("input", show);
    input.hidden = false;
    figure.classList.add("xf-on");
    show();
  }

  function start() {
    document.querySelectorAll('[data-xf="explore"]').forEach(explore);
    document.querySelectorAll('[data-xf="compare"]').forEach(compare);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
