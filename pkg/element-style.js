// @ts-check
/** The element's own style. Everything that shows has a `part`; the custom properties are listed in custom-elements.json. */
export const STYLE = `
:host {
  --_accent: var(--grad-cam-accent, #2f6fed);
  --_surface: var(--grad-cam-surface, color-mix(in srgb, currentColor 5%, transparent));
  --_text: var(--grad-cam-text, inherit);
  --_muted: color-mix(in srgb, currentColor 72%, transparent);
  --_line: color-mix(in srgb, currentColor 18%, transparent);
  --_radius: var(--grad-cam-radius, 0);
  --_gap: var(--grad-cam-gap, 0.75rem);
  display: block;
  color: var(--_text);
}
:host([hidden]) { display: none; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }

/* Margins of slotted content are the element's own, as if it were not there. */
[part~="figure"] { margin: 0; }
[part~="stage"] ~ * { margin-block: var(--_gap) 0; }
[part~="stage"] { position: relative; width: fit-content; max-width: 100%; border-radius: var(--_radius); overflow: clip; }
[part~="canvas"], [part~="image"], ::slotted(img) { max-width: 100%; height: auto; border-radius: inherit; }
[part~="canvas"], [part~="image"] { display: block; }
[part~="stage"][data-slotted] { width: auto; }
[part~="stage"][data-sized] ::slotted(img) { width: 100%; }
[part~="canvas"] { touch-action: pan-x pan-y pinch-zoom; user-select: none; -webkit-user-select: none; -webkit-touch-callout: none; }

[part~="progress"] {
  position: absolute; inset: auto 0 0; height: 4px; background: rgb(0 0 0 / 35%);
  opacity: 0; transition: opacity 0.15s 0.2s;
}
[part~="progress"][data-busy] { opacity: 1; }
[part~="progress-bar"] { height: 100%; background: var(--_accent); width: calc(100% * var(--_progress, 0)); }

[part~="value"] {
  position: absolute; left: 0; top: 0; pointer-events: none; padding: 0.1em 0.45em; border-radius: 0.35em;
  font: 600 0.75rem/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; color: #fff; background: rgb(0 0 0 / 72%);
}
[part~="message"] {
  padding: 0.6em 0.8em; border-radius: 0.4em; overflow-wrap: anywhere;
  color: var(--grad-cam-error-text, #7a1212); background: var(--grad-cam-error-surface, #fdeaea);
  border-inline-start: 4px solid var(--grad-cam-error, #c62828);
}

[part~="caption"] { font-size: 0.9em; color: var(--_muted); overflow-wrap: anywhere; }
[part~="caption"][data-print] { display: none; }

[part~="controls"] { display: grid; grid-template-columns: minmax(0, 1fr); gap: var(--_gap); font-size: 0.9em; max-width: 36rem; }
[part~="classes"] { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: minmax(0, 1fr); gap: 2px; }
[part~="classes"][inert] { visibility: hidden; }
[part~="class"] {
  display: grid; grid-template-columns: minmax(0, 1fr) auto; align-items: baseline; gap: 0.15em 1em; width: 100%;
  padding: 0.35em 0.6em 0.45em; border: 0; border-radius: 0.4em; background: none; color: inherit; font: inherit; text-align: start; cursor: pointer;
}
[part~="class"]:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
[part~="class"][aria-pressed="true"] { background: color-mix(in srgb, var(--_accent) 16%, transparent); font-weight: 600; }
[part~="class-label"] { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
[part~="class-probability"] { direction: ltr; unicode-bidi: isolate; font-variant-numeric: tabular-nums; color: var(--_muted); }
[part~="class-bar"] { grid-column: 1 / -1; height: 4px; border-radius: 2px; background: var(--_line); overflow: hidden; }
[part~="class-bar"]::before {
  content: ""; display: block; height: 100%; background: var(--_accent); width: calc(100% * var(--_probability, 0)); transition: width 0.2s;
}
[part~="settings"] { display: flex; flex-wrap: wrap; gap: var(--_gap) 1.25em; align-items: center; }
label { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0.5em; min-width: 0; max-width: 100%; }
select, [part~="peek"] {
  font: inherit; color: inherit; padding: 0.3em 0.6em; border: 1px solid var(--_line); border-radius: 0.4em;
  background: var(--_surface); cursor: pointer; user-select: none; -webkit-user-select: none;
}
select { min-width: 0; max-width: 100%; }
option { color: CanvasText; background: Canvas; }
@media (forced-colors: active) {
  [part~="progress-bar"], [part~="class-bar"]::before { background: Highlight; forced-color-adjust: none; }
  [aria-pressed="true"] { outline: 1px solid; }
}
input[type="range"] { accent-color: var(--_accent); width: 8rem; min-width: 0; max-width: 100%; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }

.announcer { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

@media print {
  [part~="controls"], [part~="value"], [part~="progress"] { display: none !important; }
  [part~="caption"][data-print] { display: block; }
  [part~="canvas"] { print-color-adjust: exact; -webkit-print-color-adjust: exact; break-inside: avoid; }
}
@media (prefers-reduced-motion: reduce) { *, ::before { transition: none !important; } }
`;
