// What HTML cannot say: Enter sends, a message that was sent leaves the box empty, and a lost connection is said.
"use strict";

const compose = document.getElementById("compose");
const text = document.getElementById("text");
const connection = document.getElementById("connection");

const fit = () => {
  text.rows = Math.min(6, text.value.split("\n").length);
};

// Browsers ignore `autofocus` where the URL names a part of the page, as each link here does, and take the focus away as they scroll there.
window.addEventListener("load", () => {
  requestAnimationFrame(() => text.focus({ preventScroll: true }));
});
text.addEventListener("input", fit);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    compose.requestSubmit(document.getElementById("send"));
  }
});

compose.addEventListener("htmx:after:request", (event) => {
  if (event.detail.ctx.response?.status === 204) {
    compose.reset();
    fit();
    text.focus();
  }
});

document.addEventListener("htmx:sse:after:connection", () => {
  connection.hidden = true;
});
for (const lost of ["htmx:sse:error", "htmx:sse:close"]) {
  document.addEventListener(lost, () => {
    connection.hidden = false;
  });
}
