// Decides records by keyboard; a decision is on the disk before the next record is shown.
"use strict";

const main = document.querySelector("main");
const answer = document.getElementById("answer");
const shown = answer.value;
const index = Number(main.dataset.index);
let isSending = false;

function go(address) {
  location.assign(address);
}

function step(by) {
  go(`/records/${Math.min(Number(main.dataset.last), Math.max(0, index + by))}`);
}

function complain(text) {
  const error = document.getElementById("error");
  error.textContent = text;
  error.hidden = !text;
}

async function decide(decision, correction = "") {
  if (isSending) return;
  isSending = true;
  try {
    const reply = await fetch(`/records/${index}/decision`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ decision, correction }),
    });
    const said = await reply.json();
    if (!reply.ok) complain(said.error);
    else if (decision) go(said.next);
    else location.reload();
  } catch {
    complain("The decision is not saved: the server does not answer.");
  }
  isSending = false;
}

function correct() {
  answer.readOnly = false;
  answer.focus();
  answer.select();
}

function leave() {
  answer.value = shown;
  answer.readOnly = true;
  answer.blur();
  complain("");
}

function togglePlaying() {
  const video = document.querySelector("video");
  if (video) video.paused ? video.play().catch(() => {}) : video.pause();
}

const KEYS = {
  a: () => decide("accept"),
  c: correct,
  r: () => decide("reject"),
  n: () => step(1),
  j: () => step(1),
  ArrowRight: () => step(1),
  p: () => step(-1),
  k: () => step(-1),
  ArrowLeft: () => step(-1),
  u: () => go(main.dataset.undecided),
  x: () => decide(""),
  " ": togglePlaying,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (!answer.readOnly) {
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && !event.shiftKey) decide("correct", answer.value);
    else return;
  } else if (event.target.closest("button, video") && (event.key === " " || event.key === "Enter")) return;
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

document.querySelectorAll("button[data-key]").forEach((button) => {
  button.addEventListener("click", () => KEYS[button.dataset.key]());
});

document.addEventListener("error", (event) => {
  if (event.target.tagName !== "VIDEO") return;
  const note = document.createElement("p");
  note.className = "note";
  note.textContent = "This browser does not play the codec of this clip.";
  event.target.replaceWith(note);
}, true);
