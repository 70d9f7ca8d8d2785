// The concepts of which a layer's activations are made.

import assert from "node:assert/strict";
import { after } from "node:test";
import { settled, testOnBothBackends } from "./page.js";
import { serveSite } from "./site.js";

const site = await serveSite({ base: "/some/where/" });
after(() => site.close());
const testOnBoth = await testOnBothBackends(site);

testOnBoth("concepts are drawn in their colours with their classes, and one click shows one large", async (open) => {
  const page = await open({ model: site.material("data/cams/gap.onnx"), src: site.material("data/images/photo.jpg") });
  assert.equal((await settled(page)).error, undefined);
  await page.evaluate(() => {
    document.querySelector("#concepts-tab").click();
    const count = document.querySelector("#concepts-count");
    count.value = 3;
    count.dispatchEvent(new Event("input"));
    document.querySelector("#concepts-run").click();
  });
  const found = await page.waitFor(async () => {
    if (document.querySelectorAll("#concepts-tiles li").length === 0) return false;
    const { prediction } = document.querySelector("grad-cam");
    const factorization = await prediction.factorize({ concepts: 3 });
    const own = document.createElement("canvas");
    factorization.draw(own, { opacity: 0.5 });
    const canvas = document.querySelector("#concepts-canvas");
    const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const expected = pixels(own);
    document.querySelectorAll("#concepts-tiles button")[1].click();
    return {
      same: canvas.width === own.width && !canvas.hidden && pixels(canvas).every((level, i) => level === expected[i]),
      colors: [...document.querySelectorAll("#concepts-tiles .swatch")].map(
        (swatch) => getComputedStyle(swatch).backgroundColor,
      ),
      wanted: factorization.concepts.map(({ color }) => {
        const node = document.body.appendChild(document.createElement("i"));
        node.style.backgroundColor = color;
        return getComputedStyle(node).backgroundColor;
      }),
      texts: [...document.querySelectorAll("#concepts-tiles .tile-detail")].map(
        (detail) => detail.children[1].textContent,
      ),
      labels: factorization.concepts.map((concept) => concept.top(1)[0].label),
      showing: document.querySelector("#showing-text").textContent,
    };
  });
  assert.equal(found.same, true);
  assert.equal(new Set(found.colors).size, 3);
  assert.deepEqual(found.colors, found.wanted);
  found.labels.forEach((label, i) => assert.ok(found.texts[i].startsWith(`${label} `), `${found.texts[i]} ${label}`));
  assert.match(found.showing, /^Concept 2 of .*: /);
});
