"use strict";
// The pop-up of a handoff waits for one message of the window that opened it, from whose origin the server
// says whether it is the application's, and goes on to the provider.
(() => {
  const patience = 10_000;
  const redirectToken = new URLSearchParams(location.search).get("token");
  const asked = new Set(); // origins that were asked about: each once, however often its page posts
  const opener = window.opener;
  let asking = false, over = false;

  const fail = () => {
    over = true;
    document.getElementById("waiting").hidden = true;
    document.getElementById("failed").hidden = false;
  };
  if (!opener) {
    fail();
    return;
  }
  const began = performance.now();
  const giveUp = () => {
    if (!over && !asking && performance.now() - began >= patience) {
      fail();
    }
  };
  setTimeout(giveUp, patience + 1);

  addEventListener("message", async (event) => {
    const { data, origin } = event;
    if (over || asking || event.source !== opener || asked.has(origin) ||
        !data || data.redirectToken !== redirectToken || typeof data.handoffToken !== "string") {
      return;
    }
    asked.add(origin);
    asking = true;
    try {
      const response = await fetch("/pipes/authorize", {
        method: "POST", credentials: "same-origin", cache: "no-store", redirect: "error",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ redirect_token: redirectToken, handoff_token: data.handoffToken, origin }),
      });
      if (response.ok) {
        const { url } = await response.json();
        over = true;
        opener.postMessage({ redirectToken }, origin);
        location.replace(url);
        return;
      }
      if (response.status !== 403) {
        fail();
      }
    } catch {
      fail();
    } finally {
      asking = false;
      giveUp();
    }
  });
})();
