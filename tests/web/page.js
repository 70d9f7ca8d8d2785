// The page as tests find it.

/** Opens the page with its script run. @returns {Promise<import("./browsers.js").Page>} */
export async function openPage(browser, site, t, parameters) {
  const page = await browser.open(`${site.url}?${new URLSearchParams(parameters)}`, t);
  await page.waitFor(() => document.querySelector("#method").options.length > 0);
  return page;
}

/** What the page shows, once it is at rest. */
export function settled(page) {
  return page.waitFor(() => {
    const picture = document.querySelector("grad-cam");
    const error = document.querySelector("#error");
    if (!document.querySelector("#progress").hidden) return false;
    if (error.hidden && !picture.explanation) return false;
    return {
      error: error.hidden ? undefined : { name: error.dataset.name, text: error.textContent },
      classes: [...document.querySelectorAll("#classes .label")].map((label) => label.textContent),
      pressed: document.querySelector("#classes [aria-pressed=true] .label")?.textContent,
      targetClass: picture.explanation?.targetClass,
      targetLayer: picture.explanation?.targetLayer,
      method: picture.explanation?.method,
      backend: document.querySelector("#backend").textContent.trim(),
      query: location.search,
    };
  });
}
