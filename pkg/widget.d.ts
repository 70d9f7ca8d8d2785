/** A front-end for anywidget, https://anywidget.dev: its traits are the attributes of `<grad-cam>` with underscores. */
declare const widget: {
  /** Shows a figure in a cell's output; returns what takes it away again. */
  render(context: { model: unknown; el: HTMLElement }): Promise<() => void>;
};
export default widget;
