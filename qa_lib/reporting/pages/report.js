"use strict";
// Draws the charts in the colours of the page, again when these change, and filters the examples.
(function () {
  const root = document.documentElement;
  const charts = [...document.querySelectorAll(".chart")].map((place) => ({
    place,
    text: document.getElementById(place.dataset.figure).textContent,
  }));

  // Figures name their colours as var(--name), which the stylesheet defines.
  function resolve(value, style) {
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, style)]));
    }
    const colour = typeof value === "string" && /^var\((--[\w-]+)\)$/.exec(value);
    return colour ? style.getPropertyValue(colour[1]).trim() : value;
  }

  function draw() {
    const style = getComputedStyle(root);
    const mouse = matchMedia("(pointer: fine)").matches;
    for (const { place, text } of charts) {
      const figure = resolve(JSON.parse(text), style);
      // A finger scrolls the page instead of zooming a chart.
      figure.layout.dragmode = mouse ? "zoom" : false;
      Plotly.react(place, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
  }

  function filter(button) {
    const group = button.closest("[data-filters]");
    for (const other of group.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    for (const item of document.querySelectorAll(`#${group.dataset.filters} .case`)) {
      item.hidden = button.value !== "all" && item.dataset.kind !== button.value;
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-filters] button");
    if (button) filter(button);
  });
})();
