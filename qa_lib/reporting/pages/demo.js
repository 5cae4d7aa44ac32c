"use strict";
// Sends the question and shows the answers of the models. Text is only ever set as text.
(function () {
  const MOST_SHOWN = 12; // questions

  const $ = (id) => document.getElementById(id);

  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  // Answers count characters as Python does, by code point.
  function marked(letters, answer) {
    const place = element("p", undefined, "text");
    place.append(letters.slice(0, answer.start).join(""));
    if (answer.end > answer.start) {
      place.append(element("mark", letters.slice(answer.start, answer.end).join("")));
    }
    place.append(letters.slice(answer.end).join(""));
    return place;
  }

  // Scrolls a long passage, and nothing else, to its answer.
  function showMark(place) {
    const mark = place.querySelector("mark");
    if (mark) place.scrollTop = mark.offsetTop - place.offsetTop - place.clientHeight / 3;
  }

  function nBest(answers, show) {
    const table = element("table");
    for (const answer of answers) {
      const row = table.insertRow();
      const text = row.insertCell();
      const button = element("button", answer.answer || "no answer", "plain");
      button.type = "button";
      button.addEventListener("click", () => show(answer));
      text.append(button);
      const cell = row.insertCell();
      cell.className = "bar";
      const meter = element("span", undefined, "meter");
      meter.append(element("span", answer.score.toFixed(3)));
      const bar = element("i");
      bar.style.setProperty("--share", `${Math.min(100, 100 * answer.score)}%`);
      meter.append(bar);
      cell.append(meter);
    }
    return table;
  }

  function card(model, context) {
    const letters = Array.from(context);
    const best = model.answers[0];
    const section = element("section", undefined, "model");
    const head = element("div", undefined, "head");
    head.append(element("h2", model.role));
    const latency = element("span", `${model.milliseconds.toFixed(1)} ms`, "soft num latency");
    latency.title = "time of this answer";
    head.append(latency);
    section.append(head, element("p", model.name, "hint"));
    section.append(element("p", best.answer || "no answer", "best"));
    let place = marked(letters, best);
    const show = (answer) => {
      const next = marked(letters, answer);
      place.replaceWith(next);
      place = next;
      showMark(place);
    };
    section.append(place, nBest(model.answers, show));
    return section;
  }

  async function send(question, context) {
    let response, body;
    try {
      response = await fetch("/answer", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ question, context }),
      });
      body = await response.json();
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (!response.ok) throw new Error(body.error);
    return body.models;
  }

  // A block per question, the newest first: it is there, and says that it waits, at once.
  async function ask() {
    const [question, context] = [$("question").value, $("context").value];
    const block = element("div", undefined, "asked");
    const busy = element("p", "answering ...", "busy");
    block.setAttribute("aria-busy", "true");
    block.append(element("h2", question), busy);
    $("answers").prepend(block);
    $("error").hidden = true;
    try {
      const models = await send(question, context);
      const grid = element("div", undefined, "grid");
      grid.append(...models.map((model) => card(model, context)));
      busy.replaceWith(grid);
      block.removeAttribute("aria-busy");
      for (const place of grid.querySelectorAll(".text")) showMark(place);
      for (const old of [...$("answers").children].slice(MOST_SHOWN)) {
        if (!old.hasAttribute("aria-busy")) old.remove();
      }
    } catch (error) {
      block.remove();
      $("error").textContent = error.message;
      $("error").hidden = false;
    }
  }

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  $("questions").addEventListener("click", (event) => {
    if (event.target.tagName !== "BUTTON") return;
    $("question").value = event.target.textContent;
    ask();
  });
})();
