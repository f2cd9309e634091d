/* Light or dark as chosen before, else as the system has it; set before anything is drawn. */
"use strict";
window.theme = {
  dark: () => document.documentElement.classList.contains("dark"),
  set: (dark) => document.documentElement.classList.toggle("dark", dark),
  keep: (dark) => { try { localStorage.setItem("dark", dark); } catch { /* a browser that keeps nothing */ } },
  kept: () => { try { return localStorage.getItem("dark"); } catch { return null; } },
};
window.theme.set((window.theme.kept() ?? String(matchMedia("(prefers-color-scheme: dark)").matches)) === "true");
