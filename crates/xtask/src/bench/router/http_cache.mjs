// Judges results of http-cache-tests as its own pages do: what a test builds on has to hold first.
// Arguments: the package's folder, and files with results; the first ones are those that are told in full.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, ...files] = process.argv.slice(2)
const load = async (file) => (await import(pathToFileURL(path.join(folder, 'tests', file)))).default
const suites = await load('index.mjs')
// `Surrogate-Control` is no standard; the published results have it on a page of its own.
const tests = new Map()
for (const suite of suites) {
  for (const test of suite.tests) {
    if (!test.browser_only) tests.set(test.id, test)
  }
}

function verdict (test, results) {
  const result = results[test.id]
  if (result === undefined) return 'untested'
  const builtOn = (test.depends_on ?? []).map((id) => tests.get(id))
  const holds = (it) => it === undefined || ['pass', 'yes'].includes(verdict(it, results))
  if (!builtOn.every(holds)) return 'dependency'
  if (Array.isArray(result) && result[0] === 'Setup') return 'setup'
  if (test.kind === 'check') return result === true ? 'yes' : 'no'
  return result === true ? 'pass' : 'fail'
}

const judged = files.map((file) => {
  const results = JSON.parse(fs.readFileSync(file, 'utf8'))
  const counts = {}
  const missed = []
  for (const test of tests.values()) {
    const kind = test.kind ?? 'required'
    const said = verdict(test, results)
    counts[kind] ??= { passed: 0, all: 0 }
    counts[kind].all += 1
    if (['pass', 'yes'].includes(said)) counts[kind].passed += 1
    else if (kind !== 'check') missed.push({ id: test.id, kind, verdict: said })
  }
  return { name: path.basename(file, '.json'), counts, missed }
})
console.log(JSON.stringify(judged))
