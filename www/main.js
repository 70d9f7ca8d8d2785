// The page: wires `<grad-cam>` and the package to the panels, the address bar and everything that is dropped.

import "./gradcam-web/element.js";
import { watchActions } from "./actions.js";
import { AimPanel } from "./aim.js";
import { AskPanel } from "./ask.js";
import { Batch } from "./batch.js";
import { ClassPanel } from "./classes.js";
import { ComparePanel } from "./compare.js";
import { ConceptsPanel } from "./concepts.js";
import { Controls, repaired } from "./controls.js";
import { $ } from "./dom.js";
import { watchDrops } from "./drop.js";
import { Gallery } from "./gallery.js";
import { JudgePanel } from "./judge.js";
import { LayerPanel } from "./layers.js";
import { Legend } from "./legend.js";
import { hideMessages, showError, showNotice } from "./messages.js";
import { Networks } from "./networks.js";
import { Stage } from "./stage.js";
import { Store } from "./store.js";
import { watchTabs } from "./tabs.js";
import { UnitsPanel } from "./units.js";

// Each part of the page comes about in a task of its own, so that the browser may answer in between.
const pause = () => new Promise((resolve) => setTimeout(resolve));
await pause();

const picture = $("picture");
const store = new Store();
await store.restore();

/**
 * What follows picture, network and settings. Each has of these what it needs: `network(model)`, `show(prediction)` (without
 * one: what was said is of another picture), `explained(explanation)`, `select(settings)`, `restyle()` for colormap and
 * opacity, `mark(unit)` for what is shown in place of the heatmap.
 * @type {object[]}
 */
const panels = [];
const tell = (what, ...values) => panels.forEach((panel) => panel[what]?.(...values));

// The engine and the network take the longest: they are on their way while the page is put together.
const networks = new Networks(store, picture, {
  network(model) {
    tell("network", model);
    tell("select", store.state);
  },
  forget: () => stage.forget(),
});
void networks.load();
await pause();

const style = () => ({ colormap: store.state.colormap, opacity: Number(store.state.opacity) });
const stage = new Stage(store, picture, panels, networks);
const choose = (change) => store.set(change);
const on = { style, error: showError, choose: (unit, sentence) => stage.showUnit(unit, sentence) };
const judge = new JudgePanel(on);
const units = new UnitsPanel(on);
panels.push(
  new Controls(store),
  new ClassPanel(chooseClass),
  new Legend(picture),
  new LayerPanel((layer) => choose({ layer })),
  new AimPanel(choose),
  new AskPanel(picture, { onChoose: chooseClass, onError: showError }),
  new ComparePanel({
    style,
    measured: (explanation, measures) => judge.remember(explanation, measures),
    settings: () => {
      const { layer, target, "rather-than": rival, smooth } = store.state;
      return { layer, target, "rather-than": rival, smooth };
    },
    choose(settings, explanation) {
      choose({ ...settings, layer: isUsual(settings.layer) ? undefined : settings.layer });
      // It is there already.
      picture.show(explanation);
      stage.reveal();
    },
  }),
  judge,
  units,
  new ConceptsPanel(on),
  networks,
  stage,
);
const batch = new Batch(picture, { choose: (photo) => stage.take(photo, photo.name) });
panels.push(batch);
watchActions(store, picture, stage);
watchTabs($("tabs"), (id) => units.open(id === "units"));
const gallery = new Gallery(picture, (image, title) => stage.take(image, title));

// The address bar, the element and the panels always say the same.
store.watch(apply);
function apply(state) {
  picture.method = state.method;
  picture.targetClass = state.class ?? null;
  // A list would count as a change each time.
  if (String(picture.targetLayer ?? "") !== String(state.layer ?? ""))
    picture.targetLayer = state.layer?.length === 1 ? state.layer[0] : (state.layer ?? null);
  picture.target = state.target;
  picture.ratherThan = state["rather-than"] ?? null;
  picture.augSmooth = state.smooth?.includes("aug");
  picture.eigenSmooth = state.smooth?.includes("eigen");
  picture.colormap = state.colormap;
  picture.opacity = state.opacity;
  tell("select", state);
  tell("restyle");
}

function chooseClass(index) {
  const rival = store.state["rather-than"];
  // A class cannot be its own rival.
  const change = { class: String(index), "rather-than": rival === String(index) ? undefined : rival };
  store.set(change, { step: store.state.class !== String(index) });
}

function isUsual(layers) {
  return !layers?.length || (layers.length === 1 && layers[0] === networks.model.defaultLayer);
}

watchDrops({
  image: (image) => stage.take(image, image.name),
  images(photos) {
    gallery.add(photos);
    batch.add(photos);
    stage.take(photos[0], photos[0].name);
    showNotice(`This is ${photos[0].name}, the first of ${photos.length}. All are below it.`);
  },
  model: (model) => networks.use(typeof model === "string" ? { model } : { own: model }),
  refine: (change) => networks.refine(change),
  note: showNotice,
  error: showError,
});

await pause();
const { change, sentence } = repaired(store.state);
store.set(change);
if (sentence) showNotice(sentence);
// From here on a change is a choice, and what was said before it is read; so is the invitation that lies over the first map.
store.watch(() => {
  hideMessages();
  $("hero").hidden = true;
});
if (!picture.src) stage.open();
document.documentElement.dataset.started = "";
void networks.showKept();
