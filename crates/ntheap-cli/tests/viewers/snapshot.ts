// Loads two heap snapshots with DevTools' own code and prints what its memory panel would show.
import {readFileSync} from 'fs';
import {HeapSnapshotLoader} from './node_modules/chrome-devtools-frontend/front_end/entrypoints/heap_snapshot_worker/HeapSnapshotLoader.js';
import {SecondaryInitManager} from './node_modules/chrome-devtools-frontend/front_end/entrypoints/heap_snapshot_worker/HeapSnapshot.js';

(Promise as any).withResolvers ??= () => {
  let resolve: any, reject: any;
  const promise = new Promise((yes, no) => { resolve = yes; reject = no; });
  return {promise, resolve, reject};
};

async function load(path: string): Promise<any> {
  const loader: any = new HeapSnapshotLoader({sendEvent() {}} as any);
  loader.write(readFileSync(path, 'latin1'));
  loader.close();
  await loader.parsingComplete;
  const channel = new MessageChannel();
  new SecondaryInitManager(channel.port1 as any);
  return loader.buildSnapshot(channel.port2 as any);
}

const [before, after] = [await load(process.argv[2]), await load(process.argv[3])];
const classes: any = Object.values(after.calculateSnapshotDiff('before', before.aggregatesForDiff('[]')));
const sum = (of: (row: any) => number) => classes.reduce((all: number, row: any) => all + of(row), 0);
const tops = after.allocationTracesTops?.() ?? [];
console.log(JSON.stringify({
  totals: [before.totalSize, after.totalSize],
  nodes: [before.nodeCount, after.nodeCount],
  added: sum(row => row.addedCount),
  removed: sum(row => row.removedCount),
  delta: sum(row => row.sizeDelta),
  functions: tops.length,
  retained: Math.max(...Object.values(after.aggregatesWithFilter({})).map((row: any) => row.maxRet)),
}));
process.exit(0);
