// Bundles snapshot.ts with the parts of DevTools that it needs; their translations are left out.
import {build} from 'esbuild';

const locales = 'export const LOCALES = ["en-US"], BUNDLED_LOCALES = ["en-US"], DEFAULT_LOCALE = "en-US", ' +
  'REMOTE_FETCH_PATTERN = "", LOCAL_FETCH_PATTERN = "";';
await build({
  entryPoints: ['snapshot.ts'], bundle: true, platform: 'node', format: 'esm', outfile: 'snapshot.mjs', logLevel: 'error',
  plugins: [{
    name: 'locales',
    setup(on) {
      on.onResolve({filter: /locales\.js$/}, found => ({path: found.path, namespace: 'locales'}));
      on.onLoad({filter: /.*/, namespace: 'locales'}, () => ({contents: locales, loader: 'js'}));
    },
  }],
});
