// The package as users get it: what `npm pack` takes, unpacked where a program finds it, beside the tools of tests/bundlers.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT } from "./site.js";

export const TOOLS = join(ROOT, "tests/bundlers");

/**
 * A project that has the package and some of the tools installed.
 *
 * @param {string[]} tools names of packages in tests/bundlers
 * @returns {{ folder: string, tarball: string, files: string[], run(program: string, args: string[], cwd?: string): Buffer, remove(): void }}
 *   `files` are the package's, sorted
 */
export function project(tools) {
  const folder = mkdtempSync(join(tmpdir(), "gradcam-web-"));
  // Some programs colour what they say where CI is set, whatever reads it.
  const env = { ...process.env, NO_COLOR: "1" };
  const run = (program, args, cwd = folder) =>
    execFileSync(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  // npm writes this list last.
  const timeOf = (file) => statSync(join(TOOLS, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (timeOf("node_modules/.package-lock.json") < timeOf("package-lock.json"))
    // Not `npm ci`: it stumbles over an optional package for Windows that the lock file gives no version.
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund"], TOOLS);
  // The files of the package alone, where a bundler finds them.
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", folder], join(ROOT, "pkg")),
  );
  run("tar", ["xzf", filename]);
  mkdirSync(join(folder, "node_modules"));
  cpSync(join(folder, "package"), join(folder, "node_modules/gradcam-web"), { recursive: true });
  for (const tool of tools) {
    mkdirSync(dirname(join(folder, "node_modules", tool)), { recursive: true });
    symlinkSync(join(TOOLS, "node_modules", tool), join(folder, "node_modules", tool));
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module", "private": true }');
  return {
    folder,
    tarball: join(folder, filename),
    files: files.map(({ path }) => path).sort(),
    run,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
