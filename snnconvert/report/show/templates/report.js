"use strict";
(() => {
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const body = document.querySelector("table.layers tbody");
  for (const button of all("thead button")) {
    button.addEventListener("click", () => {
      const header = button.parentElement, key = button.dataset.key;
      const down = header.getAttribute("aria-sort") !== "descending" && key !== "number";
      all("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = all("tr.layer", body);
      rows.sort((a, b) => (a.dataset[key] - b.dataset[key]) * (down ? -1 : 1));
      for (const row of rows) {
        const detail = document.getElementById("detail" + row.dataset.number);
        body.append(row);
        if (detail) body.append(detail);
      }
    });
  }
  const open = (number, wanted) => {
    const detail = document.getElementById("detail" + number);
    const button = document.querySelector(`[aria-controls="detail${number}"]`);
    if (!detail) return;
    detail.hidden = wanted === undefined ? !detail.hidden : !wanted;
    button.setAttribute("aria-expanded", String(!detail.hidden));
  };
  all(".fold").forEach((button) => button.addEventListener("click", () =>
    open(button.closest("tr").dataset.number)));
  all('.card a[href^="#layer"]').forEach((link) => link.addEventListener("click", () =>
    open(link.hash.slice(6), true)));
  const marked = all("[data-layer]").filter((element) => element.dataset.layer);
  const lit = (name, on) => marked.forEach((element) =>
    element.classList.toggle("lit", on && element.dataset.layer === name));
  for (const element of marked) {
    element.addEventListener("mouseenter", () => lit(element.dataset.layer, true));
    element.addEventListener("mouseleave", () => lit(element.dataset.layer, false));
  }
  all(".vertex").forEach((vertex) => vertex.addEventListener("click", () => {
    const row = all("tr.layer").find((other) => other.dataset.layer === vertex.dataset.layer);
    if (!row) return;
    open(row.dataset.number, true);
    row.scrollIntoView({ block: "center", behavior: "smooth" });
  }));
  const fold = document.getElementById("foldgraph");
  if (fold) {
    const show = () => document.body.classList.toggle("foldgraph", fold.checked);
    fold.addEventListener("change", show);
    show();
  }
})();
