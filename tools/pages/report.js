"use strict";
(() => {
  const AT_ONCE = 50;
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const chips = [...form.querySelectorAll("[data-show]")];
  let show = "all", found = [], shown = 0;

  // Texts become text nodes, never markup.
  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    made.className = className;
    made.append(...children);
    return made;
  };

  const haystacks = data.questions.map((question) => [
    question.id, question.question, ...question.golds, ...question.answers.map((answer) => answer.text),
    ...question.passages.flatMap((passage) => [passage.title, data.texts[passage.text]]),
  ].join("\n").toLowerCase());

  const SHOW = {
    all: () => true,
    wrong: (answer) => !answer.right,
    retrieval: (answer) => answer.stage === "retrieval",
    reader: (answer) => !answer.right && answer.stage !== "retrieval",
    differ: (answer, [a, b]) => a.text !== b.text,
    first: (answer, [a, b]) => a.right && !b.right,
    second: (answer, [a, b]) => b.right && !a.right,
  };

  function matches(question, index) {
    const answer = question.answers[form.run.value];
    return SHOW[show](answer, question.answers)
      && (!form.stage.value || answer.stage === form.stage.value)
      && (!form.kind.value || answer.kind === form.kind.value)
      && (!form.word.value || question.word === form.word.value)
      && haystacks[index].includes(form.text.value.trim().toLowerCase());
  }

  // A passage whose every character knows who marks it; marks count code points.
  function marked(passage) {
    const characters = Array.from(data.texts[passage.text]);
    const classes = characters.map(() => "");
    passage.marks.forEach(([start, end, name]) => {
      for (let i = start; i < end; i += 1) classes[i] += ` ${name}`;
    });
    const paragraph = element("p", "", passage.cut[0] ? "… " : "");
    for (let start = 0, end; start < characters.length; start = end) {
      for (end = start + 1; end < characters.length && classes[end] === classes[start];) end += 1;
      const text = characters.slice(start, end).join("");
      paragraph.append(classes[start] ? element("mark", classes[start].trim(), text) : text);
    }
    paragraph.append(passage.cut[1] ? " …" : "");
    return paragraph;
  }

  function passagesOf(question) {
    const boxes = question.passages.map((passage) => {
      const heading = element("h4", "", element("b", "", passage.title), ` ${passage.notes.join("; ")}`);
      return element("div", "passage", heading, marked(passage));
    });
    return element("div", "passages", ...boxes);
  }

  function rowOf(question) {
    const asked = element("span", "", question.question, element("small", "id", question.id));
    const gold = element("span", question.golds.length ? "gold-text" : "gold-text empty",
      question.golds.join(" / ") || "no answer");
    const answers = question.answers.map((answer, run) => {
      const verdict = element("span", `verdict ${answer.right ? "good" : "bad"}`, answer.right ? "✓" : "✗");
      const text = answer.text ? element("span", "", answer.text) : element("span", "empty", "no answer");
      const cell = element("span", `cell${run}`, verdict, text);
      if (answer.probability !== null) cell.append(element("span", "tag", answer.probability.toFixed(2)));
      if (!answer.right) cell.append(element("span", "tag", answer.stage === "boundary" ? answer.kind : answer.stage));
      if (answer.retrieved && answer.gold_rank !== 1 && question.golds.length) {
        cell.append(element("span", "tag", answer.gold_rank ? `gold passage ${answer.gold_rank}` : "gold passage not found"));
      }
      return cell;
    });
    const row = element("details", "", element("summary", "row", asked, gold, ...answers));
    row.addEventListener("toggle", () => {
      if (row.open && row.children.length === 1) row.append(passagesOf(question));
    });
    return row;
  }

  function showMore() {
    const next = found.slice(shown, shown + AT_ONCE);
    list.append(...next.map((index) => rowOf(data.questions[index])));
    shown += next.length;
    more.hidden = shown === found.length;
    more.textContent = `show more (${found.length - shown} left)`;
  }

  function update() {
    found = [...data.questions.keys()].filter((index) => matches(data.questions[index], index));
    shown = 0;
    list.replaceChildren();
    showMore();
    document.getElementById("count").textContent = `${found.length} of ${data.questions.length} questions`;
    chips.forEach((chip) => chip.setAttribute("aria-pressed", chip.dataset.show === show));
  }

  form.addEventListener("input", update);
  form.addEventListener("reset", () => {
    show = "all";
    setTimeout(update);
  });
  chips.forEach((chip) => chip.addEventListener("click", () => {
    show = chip.dataset.show;
    update();
  }));
  more.addEventListener("click", showMore);
  document.querySelectorAll("td button[data-filter]").forEach((button) => button.addEventListener("click", () => {
    form.reset();
    form[button.dataset.filter].value = button.dataset.value;
    setTimeout(() => document.getElementById("questions").scrollIntoView());
  }));
  update();
})();
