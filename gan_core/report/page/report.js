"use strict";
for (const place of document.querySelectorAll(".plot")) {
  const drawn = JSON.parse(place.querySelector("script").textContent);
  place.replaceChildren();
  Plotly.newPlot(place, drawn.data, drawn.layout, { responsive: true, displayModeBar: false });
}
for (const slider of document.querySelectorAll("input[type=range]")) {
  const frames = slider.closest(".frames").querySelectorAll("img");
  const caption = slider.closest(".frames").querySelector("output");
  slider.addEventListener("input", () => {
    frames.forEach((frame, number) => { frame.hidden = number !== slider.valueAsNumber; });
    caption.textContent = frames[slider.valueAsNumber].alt;
  });
}
