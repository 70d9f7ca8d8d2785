// What the page says about methods.

import assert from "node:assert/strict";
import { register } from "node:module";
import test from "node:test";
import { METHODS } from "../../pkg/catalog.js";

// The build puts the package into a folder of the page.
const hook = `export const resolve = (name, context, next) => next(name.replace("./gradcam-web/", "../pkg/"), context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

test("every method is described in plain words", async () => {
  const { wordsAbout } = await import("../../www/methods.js");
  for (const { name } of METHODS) {
    assert.match(wordsAbout(name).shows, /\w.*\.$/, name);
    assert.match(wordsAbout(name).misleads, /\w.*\.$/, name);
  }
});
