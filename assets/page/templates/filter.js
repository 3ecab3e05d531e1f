"use strict";
// The page reads without this script; it adds the filters, and how long ago the tables were read.
(() => {
  const FIRST_ROWS = 25;

  const form = document.getElementById("filters");
  const found = document.getElementById("found");
  const printed = document.getElementById("printed");
  const more = document.getElementById("more");
  const rows = Array.from(document.querySelectorAll("#attention tbody tr"), (element) => ({
    element,
    flake: element.dataset.flake,
    status: element.dataset.status,
    text: element.textContent.replace(/\s+/g, " ").toLowerCase(),
  }));
  let showAll = false;

  function update() {
    const { flake, status, text } = form.elements;
    const filtered = flake.value || status.value || text.value.trim();
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matching = 0;
    for (const row of rows) {
      const matches =
        (!flake.value || row.flake === flake.value) &&
        (!status.value || row.status === status.value) &&
        words.every((word) => row.text.includes(word));
      matching += matches ? 1 : 0;
      row.element.hidden = !matches;
      // Out of the way on a screen only: paper has no button that shows the rest.
      row.element.classList.toggle("folded", matches && !showAll && matching > FIRST_ROWS);
    }
    const shown = showAll ? matching : Math.min(matching, FIRST_ROWS);
    found.textContent =
      matching === 0
        ? "No listed system matches."
        : filtered
          ? `Showing ${shown} of ${matching} matching, of ${rows.length} listed systems.`
          : `Showing ${shown} of ${matching} listed systems.`;
    printed.textContent = filtered
      ? `Filtered: ${matching} of ${rows.length} listed systems.`
      : "";
    more.hidden = shown === matching;
    more.textContent = `Show all ${matching}`;
  }

  function filterBy(wanted) {
    form.elements.flake.value = wanted.flake || "";
    form.elements.status.value = wanted.status || "";
    form.elements.text.value = "";
    showAll = false;
    update();
  }

  if (form) {
    form.hidden = false;
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("clear").addEventListener("click", () => filterBy({}));
    more.addEventListener("click", () => {
      const next = rows.find((row) => row.element.classList.contains("folded"));
      showAll = true;
      update();
      // The button is gone: the keyboard goes on where the rows did.
      if (next) next.element.querySelector("th").focus();
    });
    for (const link of document.querySelectorAll("a[data-filter]")) {
      link.addEventListener("click", () => filterBy(link.dataset));
    }
    // A link to one system finds it, whatever the filters hide.
    const reveal = (hash) => {
      const wanted = rows.find((row) => hash === `#${row.element.querySelector("th").id}`);
      if (!wanted) return;
      if (wanted.element.hidden) filterBy({});
      if (wanted.element.classList.contains("folded")) showAll = true;
      update();
    };
    for (const link of document.querySelectorAll('a[href^="#system-"]')) {
      link.addEventListener("click", () => reveal(link.hash));
    }
    update();
    reveal(location.hash);
  }

  const age = document.getElementById("age");
  const hours = (Date.now() - Date.parse(age.dataset.since)) / 3600000;
  if (hours >= 1) {
    age.textContent =
      hours < 48
        ? `The tables were read ${Math.floor(hours)} h ago.`
        : `The tables were read ${Math.floor(hours / 24)} days ago.`;
    age.hidden = false;
  }
})();
