"use strict";

const SHOWN_LABELS = 6;
const SHORT_EXAMPLE = 140;
const GENERIC_EXAMPLES = [
  "I would buy this again without a second thought.",
  "It stopped working after two days, and nobody answers my mails.",
  "It arrived on Tuesday.",
];

const at = (id) => document.getElementById(id);
const form = at("form");
const text = at("text");
const submit = at("submit");
let asked = 0; // only the answer to the last question is shown

function percent(score) {
  return `${(score * 100).toFixed(1)} %`;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The parts of a path, which may break into lines between them.
function breakable(value) {
  return value.split(/(?<=\/)(?!\/)/).flatMap((part) => [part, element("wbr")]);
}

function predictUrl() {
  return new URL("predict", document.baseURI).href;
}

// --- asking --------------------------------------------------------------------------------------------------------

async function ask() {
  const turn = ++asked;
  if (!text.value.trim()) {
    showProblem({ message: "There is no text yet.", remedy: "Write one, or pick an example." });
    submit.removeAttribute("aria-busy");
    text.focus();
    return;
  }
  submit.setAttribute("aria-busy", "true");
  const started = performance.now();
  try {
    const response = await fetch(predictUrl(), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: text.value }),
    });
    const answer = await response.json().catch(() => null);
    if (turn !== asked) return;
    if (response.ok && answer) {
      showAnswer(answer, performance.now() - started, response.headers.get("x-model-version"));
    } else {
      showProblem(answer?.error ?? { message: `The server answered with status ${response.status}.` });
    }
  } catch {
    if (turn === asked) {
      showProblem({ message: "The server cannot be reached.", remedy: "Check that it still runs, then try again." });
    }
  } finally {
    if (turn === asked) submit.removeAttribute("aria-busy");
  }
}

function show(id) {
  for (const part of ["empty", "error", "result"]) at(part).hidden = part !== id;
  at("answer").scrollIntoView({ block: "nearest" }); // on a phone it lies below the text
}

function showProblem(error) {
  at("error-message").textContent = error.message;
  at("error-remedy").textContent = error.remedy ?? "";
  show("error");
}

// --- the answer ----------------------------------------------------------------------------------------------------

function showAnswer(answer, milliseconds, version) {
  at("label").textContent = answer.label;
  at("score").textContent = percent(answer.score);
  at("latency").textContent = milliseconds < 10 ? `${milliseconds.toFixed(1)} ms` : `${Math.round(milliseconds)} ms`;
  at("answered-by").textContent = version ?? "unknown";
  drawScores(answer.scores);
  show("result");
}

function drawScores(scores) {
  const rows = scores.map(({ label, score }, index) => {
    const fill = element("div", { className: "fill" });
    const row = element(
      "li",
      { hidden: index >= SHOWN_LABELS },
      element("span", { className: "name", textContent: label, title: label }),
      element("span", { className: "value", textContent: percent(score) }),
      element("div", { className: "track" }, fill),
    );
    return { row, fill, score };
  });
  at("scores").replaceChildren(...rows.map(({ row }) => row));
  // Two frames, so that the bars are drawn empty first and then grow.
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const { fill, score } of rows) fill.style.setProperty("--share", score);
  }));
  const rest = scores.length - SHOWN_LABELS;
  const more = at("more");
  more.hidden = rest <= 0;
  more.textContent = rest === 1 ? "Show 1 more label" : `Show ${rest} more labels`;
  more.onclick = () => {
    for (const { row } of rows) row.hidden = false;
    more.hidden = true;
  };
}

// --- the command ---------------------------------------------------------------------------------------------------

function shellQuoted(value) {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

function drawCommand() {
  const body = JSON.stringify({ text: text.value || text.placeholder });
  at("curl").textContent =
    `curl ${predictUrl()} \\\n  -H 'content-type: application/json' \\\n  -d ${shellQuoted(body)}`;
}

async function copyCommand() {
  const button = at("copy");
  try {
    await navigator.clipboard.writeText(at("curl").textContent);
    button.textContent = "Copied";
  } catch {
    // Without https the clipboard is closed to pages: select the command, so that Ctrl+C takes it.
    getSelection().selectAllChildren(at("curl"));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2500);
}

// --- the model -----------------------------------------------------------------------------------------------------

function drawExamples(examples) {
  at("examples").replaceChildren(...examples.map((example) => {
    const shown = example.length > SHORT_EXAMPLE ? `${example.slice(0, SHORT_EXAMPLE).trimEnd()}…` : example;
    const button = element("button", { type: "button", textContent: shown, title: example });
    button.addEventListener("click", () => {
      text.value = example;
      drawCommand();
      ask();
    });
    return element("li", {}, button);
  }));
}

function drawModel(model) {
  const [job, version] = model.version.split("/");
  document.title = `${model.version}: playground`;
  at("model-name").textContent = job;
  at("model-version").textContent = version ?? model.version;
  at("model-version").hidden = false;
  const many = model.labels.length > SHOWN_LABELS;
  const named = many ? `one of ${model.labels.length} labels` : `${model.labels.slice(0, -1).join(", ")} or ${model.labels.at(-1)}`;
  at("intro-text").textContent = `Write a text, and the model says which label fits: ${named}.`;
  const facts = {
    Task: model.task.replaceAll("-", " "),
    Variant: model.variant,
    "Tuned from": model.baseModel,
    Published: new Date(model.createdAt).toLocaleDateString(undefined, { dateStyle: "medium" }),
    "Longest text": `${model.maxLength} tokens`,
  };
  const names = { accuracy: "Accuracy on test rows", f1: "F1 on test rows" };
  for (const [metric, name] of Object.entries(names)) {
    if (metric in model.metrics) facts[name] = metric === "accuracy" ? percent(model.metrics[metric]) : model.metrics[metric].toFixed(3);
  }
  at("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => element(
    "div", {}, element("dt", { textContent: name }), element("dd", {}, ...breakable(value)),
  )));
  at("about").hidden = false;
  drawExamples(model.examples.length ? model.examples : GENERIC_EXAMPLES);
}

async function loadModel() {
  try {
    const response = await fetch("model");
    drawModel(await response.json());
  } catch {
    drawExamples(GENERIC_EXAMPLES);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
text.addEventListener("input", drawCommand);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    ask();
  }
});
at("copy").addEventListener("click", copyCommand);
at("modifier").textContent = navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl";
drawCommand();
loadModel();
