"use strict";

// The theme: what the system says, unless the reader chose otherwise.
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const announce = () => {
    button.textContent = dark() ? "Light theme" : "Dark theme";
    document.dispatchEvent(new Event("themechange"));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("certvq-theme", root.dataset.theme);
    } catch {
      // a browser without storage for local files: the choice holds until the page is closed
    }
    announce();
  });
  system.addEventListener("change", announce);
  announce();
})();

// The charts: plotly knows no CSS variables, so each is replaced by the colour it stands for.
(() => {
  const probe = document.createElement("span");
  const paint = (value) => {
    if (typeof value === "string" && value.startsWith("var(--")) {
      probe.style.color = value;
      return getComputedStyle(probe).color;
    }
    if (Array.isArray(value)) return value.map(paint);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, paint(item)]));
  };
  const charts = [...document.querySelectorAll(".chart")].map((place) => ({
    place,
    figure: JSON.parse(document.getElementById(place.dataset.figure).textContent),
  }));
  const draw = () => {
    document.body.append(probe);
    const body = getComputedStyle(document.body);
    for (const { place, figure } of charts) {
      const layout = paint(figure.layout);
      layout.font = { family: body.fontFamily, size: 13, color: body.color };
      Plotly.react(place, paint(figure.data), layout, { displayModeBar: false, responsive: true });
    }
    probe.remove();
  };
  document.addEventListener("themechange", draw);
  draw();
})();

// The viewer: one picture as large as the window, the others of its photograph one key away.
(() => {
  const viewer = document.querySelector(".viewer");
  const choices = viewer.querySelector(".choices");
  let shown = [];
  let place = 0;
  const show = (next) => {
    place = (next + shown.length) % shown.length;
    viewer.querySelector("img")?.remove();
    const image = shown[place].querySelector("img").cloneNode();
    viewer.prepend(image);
    viewer.setAttribute("aria-label", image.alt);
    [...choices.children].forEach((choice, index) => {
      if (index < shown.length) choice.setAttribute("aria-pressed", index === place);
    });
    choices.children[place].focus();
  };
  const choice = (text, act) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "pill", textContent: text });
    button.addEventListener("click", act);
    return button;
  };
  const open = (start) => {
    shown = [...document.querySelectorAll(".zoom")].filter(
      (other) => other.dataset.photo === start.dataset.photo,
    );
    choices.replaceChildren(
      ...shown.map((other, index) => choice(other.dataset.label, () => show(index))),
      choice("Close", () => viewer.close()),
    );
    viewer.showModal();
    show(shown.indexOf(start));
  };
  document.querySelectorAll(".zoom").forEach((zoom) => {
    zoom.addEventListener("click", () => open(zoom));
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") show(place + 1);
    if (event.key === "ArrowLeft") show(place - 1);
  });
  viewer.addEventListener("click", (event) => {
    if (event.target.tagName === "IMG") viewer.close();
  });
})();
