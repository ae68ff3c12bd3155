// node pyodide.mjs PYODIDE REPOSITORY MODULE [ARGUMENT...]: runs MODULE.main(arguments) on Pyodide, and exits with its result.
// PYODIDE is a directory with node_modules/pyodide and site-packages.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [home, repository, module, ...args] = process.argv.slice(2);
const { loadPyodide } = createRequire(resolve(home, "package.json"))("pyodide");
const pyodide = await loadPyodide({
  env: { HOME: "/tmp", PYTHONDONTWRITEBYTECODE: "1", PYTEST_DISABLE_PLUGIN_AUTOLOAD: "1" },
});
pyodide.mountNodeFS("/repository", resolve(repository));
pyodide.mountNodeFS("/site-packages", resolve(home, "site-packages"));
pyodide.globals.set("module", module);
pyodide.globals.set("args", pyodide.toPy(args));
try {
  process.exitCode = pyodide.runPython(`
    import importlib, os, sys
    sys.path[:0] = ["/repository", "/site-packages"]
    os.chdir("/repository")
    importlib.import_module(module).main(args)
  `);
} catch (error) {
  // Otherwise Node.js would print Pyodide's own source, a line of 300,000 characters.
  console.error(error.message);
  process.exitCode = 1;
}
