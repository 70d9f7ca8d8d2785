// How much memory a page takes, told by the operating system.

import { readFileSync } from "node:fs";

/**
 * The most memory that the browser's processes of a kind ever had in use, of the one that had most.
 *
 * @param {import("../tests/web/browsers.js").Page} page of Chromium on Linux
 * @param {"VmHWM" | "VmRSS"} [field] of /proc/PID/status: the most ever, or now
 * @param {"renderer" | "GPU"} [kind] the processes of pages, or the one that draws and computes for them
 * @returns {Promise<number>} bytes; NaN elsewhere
 */
export async function memoryOf(page, field = "VmHWM", kind = "renderer") {
  const browser = page.driver.context?.().browser();
  if (!browser || process.platform !== "linux") return NaN;
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const sizes = processInfo.filter(({ type }) => type === kind).map(({ id }) => residentBytes(id, field));
  return Math.max(...sizes);
}

function residentBytes(id, field) {
  try {
    return 1024 * Number(readFileSync(`/proc/${id}/status`, "utf8").match(new RegExp(`${field}:\\s*(\\d+) kB`))[1]);
  } catch {
    // It ended in the meantime.
    return 0;
  }
}
