import js from "@eslint/js";
import globals from "globals";

export default [
  {
    ignores: [
      "dist/",
      "target/",
      "pkg/view/",
      "pkg/decode/",
      "pkg/formats/",
      "pkg/cpu/",
      "pkg/relaxed/",
      "pkg/gpu/",
      "pkg/models.js",
      "pkg/sizes.js",
      "pkg/worker.js",
      ".venv/",
    ],
  },
  js.configs.recommended,
  {
    rules: {
      eqeqeq: ["error", "always"],
      "no-var": "error",
      "prefer-const": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
      "no-eval": "error",
      "no-implied-eval": "error",
      // Text goes through textContent: what comes from a model or an image is never markup.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML" },
        { property: "outerHTML" },
        { property: "insertAdjacentHTML" },
      ],
    },
  },
  { files: ["pkg/**", "www/**"], languageOptions: { globals: { ...globals.browser, ...globals.worker } } },
  {
    files: ["tests/**", "bench/**", "docs/**", "xtask/**", "*.js"],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
];
