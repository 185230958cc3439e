// Keeps a page of running jobs current, and moves through clips by keyboard.
"use strict";

const FRAME_SECONDS = 1 / 16;

async function refresh() {
  const main = document.querySelector("main[data-refresh-seconds]");
  if (!main) return;
  const isBusy = document.hidden || main.contains(document.activeElement?.closest("input"));
  if (!isBusy) {
    try {
      const answer = await fetch(location.href);
      if (answer.ok) replaceMain(main, await answer.text());
    } catch {
      document.title = "Not connected · tao-skills"; // the server was stopped; the next attempt may succeed
    }
  }
  setTimeout(refresh, 1000 * Number(main.dataset.refreshSeconds));
}

function replaceMain(main, text) {
  const next = new DOMParser().parseFromString(text, "text/html");
  const log = main.querySelector("[data-at-end]");
  const isAtEnd = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  const top = log ? log.scrollTop : 0;
  document.title = next.title;
  main.replaceWith(next.querySelector("main"));
  const newLog = document.querySelector("[data-at-end]");
  if (newLog) newLog.scrollTop = isAtEnd ? newLog.scrollHeight : top;
}

function clips() {
  return [...document.querySelectorAll("[data-clip]")];
}

function current() {
  return document.querySelector("[data-clip].current") ?? null;
}

function select(step) {
  const all = clips();
  if (!all.length) return;
  const at = current() ? all.indexOf(current()) + step : 0;
  const next = all[Math.min(all.length - 1, Math.max(0, at))];
  current()?.querySelectorAll("video").forEach((video) => video.pause());
  current()?.classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "center" });
}

function togglePlaying(videos) {
  const isPaused = videos.every((video) => video.paused);
  videos.forEach((video) => (isPaused ? video.play().catch(() => {}) : video.pause()));
}

function moveTo(videos, seconds) {
  videos.forEach((video) => {
    video.pause();
    video.currentTime = Math.min(Math.max(0, seconds), video.duration || 0);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, video") || event.ctrlKey || event.metaKey || event.altKey) return;
  const videos = current() ? [...current().querySelectorAll("video")] : [];
  if (event.key === "j") select(1);
  else if (event.key === "k") select(-1);
  else if (event.key === " " && videos.length) togglePlaying(videos);
  else if (event.key === "." && videos.length) moveTo(videos, videos[0].currentTime + FRAME_SECONDS);
  else if (event.key === "," && videos.length) moveTo(videos, videos[0].currentTime - FRAME_SECONDS);
  else return;
  event.preventDefault();
});

document.addEventListener("input", (event) => {
  const row = event.target.closest("[data-clip]");
  if (!row || event.target.type !== "range") return;
  const videos = [...row.querySelectorAll("video")];
  const shortest = Math.min(...videos.map((video) => video.duration || 0));
  moveTo(videos, event.target.value * shortest);
});

document.addEventListener("error", (event) => {
  if (event.target.tagName !== "VIDEO") return;
  const note = document.createElement("p");
  note.className = "note";
  note.textContent = "This browser does not play the codec of this clip.";
  event.target.replaceWith(note);
}, true);

const log = document.querySelector("[data-at-end]");
if (log) log.scrollTop = log.scrollHeight;
setTimeout(refresh, 1000 * Number(document.querySelector("main").dataset.refreshSeconds || 0));
