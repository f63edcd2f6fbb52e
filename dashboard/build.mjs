// Bundles the page into the folder given: index.html, app.js, app.css, icon.svg, and NOTICE.txt with the licences of the
// libraries that are in app.js. Run by ctl/build.rs; `npm run build` writes to dist/.
import { build } from 'esbuild';
import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const out = process.argv[2] ?? 'dist';
await mkdir(out, { recursive: true });
const { metafile } = await build({
    entryPoints: { app: 'src/main.jsx' },
    outdir: out,
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
});
for (const file of ['index.html', 'icon.svg']) await copyFile(join('src', file), join(out, file));

// Only what is really in the bundle.
const packages = new Set();
for (const input of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
}
let notice = 'The page of weftctl dashboard contains these libraries:\n';
for (const name of [...packages].sort()) {
    const folder = join('node_modules', name);
    const { version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(join(folder, file), 'utf8') : '';
    notice += `\n${'-'.repeat(80)}\n${name} ${version} (${license})\n\n${text.trim()}\n`;
}
await writeFile(join(out, 'NOTICE.txt'), notice);
