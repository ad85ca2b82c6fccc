// The page: takes files, hands them to the worker (or to the Space) one by one, and shows what comes back.
// Names of files and classes come from others: they are set as text, never as HTML.
const $ = id => document.getElementById(id)
const SPACE = document.documentElement.dataset.space
const PAGE = 100, BARS = 5
const WORDS = { blank: 'nobody there', accept: 'sure', review: 'not sure: show it to a volunteer' }
const GUESS = 'a guess: trust was not measured'
const read = name => fetch(name).then(answer => answer.ok ? answer.json() : Promise.reject(new Error(`${name} is missing`)))
const bundle = read('bundle.json'), settings = read('page.json')
settings.catch(() => {})
let measured = true // whether scores were found that can be trusted; only words depend on it
bundle.then(o => { measured = Object.values(limits(o)).some(value => value !== undefined) }, () => {})

// One photograph is looked at as a whole, and a bundle with the motion crop has thresholds of its own for that.
function limits(description) {
  const way = description.motion ? 'whole_frame_' : ''
  const { blank, accept } = description[`${way}thresholds`] ?? {}
  const byClass = description[`${way}class_thresholds`] ?? {}
  return { blank, accept, byClass: Object.keys(byClass).length ? byClass : undefined }
}
let records = [], queue = [], done = 0, running = false, stopped = 0, shown = null, first = 0, order = { key: null, up: true }, drawing = null
let passed = [], unsaved = false, paused = null, goOn = null, busy = 0

function inWords (decision) {
  return decision === 'review' && !measured ? GUESS : WORDS[decision]
}

// As `confidence.confidence_words`, by the table that Python hands over: how sure an answer is.
function sureness({ confidence }, score, decision) {
  const column = decision ? 'accepted' : 'guess'
  if (decision === 'review') return confidence.at(-1).words
  return confidence.find(o => o[column] !== null && score >= o[column]).words
}

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag)
  if (text !== undefined) element.textContent = text
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}

const percent = value => value === null ? '' : `${(value * 100).toFixed(1)} %`
const say = text => { $('said').textContent = text }

function trouble(text) {
  $('trouble').hidden = !text
  $('trouble').textContent = text ?? ''
}

// ── the two who look ────────────────────────────────────────────────────────────────────────────────────────────────
// The worker starts from a blob, so that it is under this page's Content-Security-Policy: it can reach this folder only.
let engine, other = null, tried = false

function startEngine(kind) {
  const source = `import ${JSON.stringify(new URL('worker.js', location.href).href)}`
  const address = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
  const started = { kind, worker: new Worker(address, { type: 'module', name: kind }), waiting: new Map() }
  started.ready = new Promise((resolve, reject) => {
    started.worker.onerror = () => {
      reject(new Error('the model could not be started. Load the page again, or use a newer browser'))
      for (const answer of started.waiting.values()) answer({ error: 'cannot be looked at (the model stopped)' })
      started.waiting.clear()
    }
    started.worker.onmessage = ({ data }) => {
      if (data.loaded) return kind === 'wasm' && loading(data)
      URL.revokeObjectURL(address)
      if (data.ready) return settings.then(o => o.model.sha256 === data.model ? resolve() : reject(new Error('there is a new version. Load the page again')), reject)
      if (data.failed) return reject(new Error(data.failed))
      started.waiting.get(data.id)?.(data)
      started.waiting.delete(data.id)
    }
  })
  started.ready.then(() => { $('loading').hidden = true }, () => { $('loading').hidden = true })
  return started
}

function loading({ loaded, of }) {
  $('loading').hidden = loaded >= of
  $('loaded').max = of
  $('loaded').value = loaded
  $('megabytes').textContent = `Loading the model: ${(loaded / 1e6).toFixed(1)} of ${(of / 1e6).toFixed(1)} MB`
}

let number = 0
async function ask(whom, file, trim) {
  await whom.ready
  return new Promise(resolve => { whom.waiting.set(++number, resolve); whom.worker.postMessage({ id: number, file, trim }) })
}

// Files that every browser turns into the same pixels, and the scores that Python gives them. JPEG is rounded differently,
// and what is transparent is blended differently (WebKit: by 0.026).
const isExact = o => o.file.endsWith('.png') && o.name !== 'alpha'
const exactly = async () => (await read('golden.json')).photographs.filter(o => o.file && isExact(o))

async function answersTo(whom, { file, name }) {
  const answer = await ask(whom, await (await fetch(file)).blob(), (await bundle).transforms.trim)
  if (answer.error) throw new Error(`${name} ${answer.error}`)
  return answer
}

const apart = (a, b) => a.reduce((most, score, o) => Math.max(most, Math.abs(score - b[o])), 0)

// The graphics card takes over only if it answers as the processor does, and sooner. Nobody waits for it.
async function tryGraphicsCard(ahead) {
  if (tried || ahead < 2 || !navigator.gpu || !WebAssembly.Suspending || navigator.connection?.saveData) return
  const { graphics_card: rule, same_scores: same } = await settings
  if (tried || ahead < rule.photographs) return
  tried = true
  let card
  try {
    if (!await navigator.gpu.requestAdapter()) return
    const [one] = await exactly(), here = engine
    if (!one) return
    card = startEngine('webgpu')
    await card.ready
    await answersTo(card, one)  // compiles its programs
    const quick = await answersTo(card, one), usual = await answersTo(here, one)
    const difference = apart(quick.scores, usual.scores), saves = usual.ms.model / quick.ms.model
    console.info(`WebGPU: scores differ by ${difference.toFixed(5)}, ${saves.toFixed(1)} times as fast as WebAssembly`)
    if (difference > same || saves < rule.times_as_fast || here !== engine) return card.worker.terminate()
    other = card
  } catch (error) {
    console.info(`WebGPU is not used: ${error.message}`)
    card?.worker.terminate()
  }
}

function use(whom) {
  engine?.worker.terminate()
  engine = whom
  other = null
  $('engine').textContent = whom.kind === 'webgpu' ? 'The graphics card computes: its answers were compared with the processor’s.' : ''
}

// The rules of `decisions.add_decisions`: in double precision; blank, unknown, accept, higher taxon, review.
const UNKNOWN_REASON = 'none of the classes that the model knows', UNSURE_REASON = 'no class is sure'
const FLOOR = 1e-8

function direction(scores) {
  const logs = Array.from(scores, o => Math.log(Math.max(o, FLOOR)))
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length
  const centred = logs.map(o => o - mean), length = Math.hypot(...centred)
  return centred.map(o => length > 0 ? o / length : o)
}

// The mean distance (1 - cosine) to the nearest known photographs.
function distance(scores, { reference, neighbours }) {
  const own = direction(scores)
  const all = reference.map(row => 1 - row.split(' ').reduce((sum, o, c) => sum + Number(o) * own[c], 0))
  const nearest = all.sort((a, b) => a - b).slice(0, neighbours)
  return nearest.reduce((a, b) => a + b, 0) / nearest.length
}

// The score from which a higher taxon is sure: that of all classes, or the highest of the classes.
function sureFrom(description) {
  const { accept, byClass } = limits(description)
  return byClass ? Math.max(...Object.values(byClass)) : accept
}

function sureTaxon(scores, best, description) {
  const { classes, roll_up: rollUp } = description, accept = sureFrom(description)
  if (!rollUp || accept === undefined || scores[best] >= accept) return null
  const people = (rollUp.people ?? []).map(o => classes.indexOf(o))
  if (people.includes(best) || people.reduce((sum, o) => sum + scores[o], 0) >= .1) return null
  const summed = rollUp.taxa.map(o => ({ ...o, score: o.classes.reduce((sum, name) => sum + scores[classes.indexOf(name)], 0) }))
  const sure = summed.filter(o => o.score >= accept)
  return sure.filter(o => o.rank === sure[0].rank).reduce((a, b) => !a || b.score > a.score ? b : a, null)
}

function inSentence({ rank, name, common_name: common }) {
  if (common === name) return `an animal of the ${rank} ${name}`
  return `${/^[aeiou]/i.test(common) ? 'an' : 'a'} ${common.toLowerCase()}`
}

function decided(scores, description) {
  const { classes, unknown } = description, { blank: limit, accept, byClass } = limits(description)
  let best = 0
  scores.forEach((score, o) => { if (score > scores[best]) best = o })
  const far = unknown ? distance(scores, unknown) : null, blank = classes.indexOf('blank')
  if (blank >= 0 && limit !== undefined && scores[blank] >= limit) return { best, decision: 'blank', far }
  if (unknown && far > unknown.threshold) return { best, decision: 'review', far, reason: UNKNOWN_REASON }
  const least = byClass ? byClass[classes[best]] : accept  // a class that is not among them is reviewed
  const accepted = classes[best] !== 'blank' && least !== undefined && scores[best] >= least
  if (accepted) return { best, decision: 'accept', far }
  const taxon = sureTaxon(scores, best, description)
  const reason = taxon ? `no species is sure, but it is ${inSentence(taxon)} (${taxon.score.toFixed(2)})` : UNSURE_REASON
  return { best, decision: 'review', far, taxon, reason }
}

// The columns on doubt, those that `predict` writes for this bundle.
function doubtColumns(description) {
  const { unknown, roll_up: rollUp } = description
  const ways = [description, { ...description, motion: false }]  // looked at once, and twice
  const rollsUp = Boolean(rollUp) && ways.some(o => sureFrom(o) !== undefined)
  return [...(unknown ? ['unknown_score'] : []), ...(unknown || rollsUp ? ['review_reason'] : []),
          ...(rollsUp ? ['taxon', 'taxon_rank', 'taxon_score'] : [])]
}

function nameOf({ best, taxon, reason }, { classes, common_names: names }) {
  if (reason === UNKNOWN_REASON) return 'Unknown'
  if (taxon) return taxon.common_name[0].toUpperCase() + taxon.common_name.slice(1)
  return names[classes[best]] ?? classes[best]
}

// As `heat_map.HeatMap` has it: what the answer's classes have in a cell above the mean of the others, from 0 (the average
// cell) to 1 (the most).
function heatOf(scores, { data, shape: [classes, rows, columns] }, chosen) {
  const cells = rows * columns, weights = chosen.map(o => Math.max(scores[o], 1e-9)), sum = weights.reduce((a, b) => a + b, 0)
  const evidence = Array.from({ length: cells }, (_, cell) => {
    let ours = 0, others = 0
    for (let o = 0; o < classes; o++) if (!chosen.includes(o)) others += data[o * cells + cell]
    chosen.forEach((o, c) => { ours += weights[c] / sum * data[o * cells + cell] })
    return ours - (classes > chosen.length ? others / (classes - chosen.length) : 0)
  })
  const mean = evidence.reduce((a, b) => a + b, 0) / cells, above = evidence.map(o => o - mean), most = Math.max(...above, 1e-9)
  return { rows, columns, cells: above.map(o => Math.min(1, Math.max(0, o / most))) }
}

// The title and the sentence of `rendering.verdict`.
async function inSoManyWords({ decision, taxon, reason }, score) {
  const texts = await settings, taken = decision === 'review' && !measured ? null : decision
  if (reason === UNKNOWN_REASON) return { sure: texts.verdicts.unknown[0], sentence: texts.verdicts.unknown[1] }
  if (taxon) return { sure: `No species is sure, the group is (${percent(taxon.score)})`, sentence: texts.verdicts.taxon[1] }
  const words = sureness(texts, score, taken)
  return { sure: `${words[0].toUpperCase()}${words.slice(1)} (${percent(score)})`, sentence: texts.verdicts[taken ?? 'none'][1] }
}

async function answerHere(record) {
  const description = await bundle
  if (other) use(other)
  let answer = await ask(engine, record.file, record.trim ?? description.transforms.trim)
  if (answer.error?.startsWith('cannot be looked at')) {  // its memory may be spoilt, or the graphics card is gone
    const again = engine.kind === 'webgpu'
    use(startEngine('wasm'))
    if (again) answer = await ask(engine, record.file, record.trim ?? description.transforms.trim)
  }
  record.thumbnail = answer.thumbnail
  if (answer.error) return record.error = answer.error
  const { classes, common_names: names } = description
  const verdict = decided(answer.scores, description), { best, decision, far, taxon, reason } = verdict
  const sorted = [...answer.scores.keys()].sort((a, b) => answer.scores[b] - answer.scores[a] || a - b)
  Object.assign(record, await inSoManyWords(verdict, answer.scores[best]))
  record.heat = answer.activation && heatOf(answer.scores, answer.activation, taxon ? taxon.classes.map(o => classes.indexOf(o)) : [best])
  Object.assign(record, { prediction: classes[best], common: nameOf(verdict, description), score: answer.scores[best], decision,
                          far, taxon, reason: doubtColumns(description).length ? reason : undefined,
                          scores: answer.scores, bars: sorted.slice(0, BARS).map(o => [names[classes[o]] ?? classes[o], answer.scores[o]]) })
}

let client
async function answerBySpace(record) {
  try {
    const { Client } = await import('./vendor/gradio-client.js')
    client ??= Client.connect(SPACE, { events: ['data', 'status'], status_callback: status => {
      if (['sleeping', 'building', 'starting'].includes(status.status)) say('The Space is waking up; this can take a minute or two.')
    } })
    const result = await inTime((await client).predict('/top_3_preds', { image_path: record.file }), 180)
    const { prediction, top3, answer, review_reason: reason } = result.data[1] ?? {}
    if (!prediction) throw new Error('The Space answered in a way that this page does not know')
    const bars = (top3 ?? []).map(line => /^(.*): ([\d.]+)$/s.exec(line)).filter(Boolean).map(o => [o[1], Number(o[2])])
    const words = sureness(await settings, prediction.probability, reason ? 'review' : null)
    record.sure = `${words[0].toUpperCase()}${words.slice(1)} (${percent(prediction.probability)})`
    Object.assign(record, { prediction: prediction.class ?? prediction.common_name, common: answer ?? prediction.common_name,
                            score: prediction.probability, decision: '', scores: null, bars, reason })
  } catch (error) {
    client = null
    record.error = spaceError(error)
  }
}

const inTime = (promise, seconds) => Promise.race([promise, new Promise((_, reject) => {
  setTimeout(() => reject(new Error('The Space did not answer in time. Try again later')), seconds * 1000)
})])

function spaceError(error) {
  const text = String(error?.message ?? error?.title ?? error).split('\n')[0].slice(0, 300).replace(/^This (photograph|file) /, '')
  const instead = 'or let this browser look'
  if (!navigator.onLine) return `You are offline. Connect first, ${instead}`
  if (/busy|queue|too many|429|503/i.test(text)) return `The Space is busy. Try again in a minute, ${instead}`
  if (/paused|space_error|runtime error/i.test(text)) return `The Space is switched off or broken. Tell who runs it, ${instead}`
  if (/could not|connection|failed to fetch|networkerror|load failed|resolve|not found|undefined/i.test(text)) {
    return `The Space cannot be reached: it may be asleep, starting or gone. Try again in a minute, ${instead}`
  }
  return text
}

// ── files in ────────────────────────────────────────────────────────────────────────────────────────────────────────
const mode = () => document.querySelector('input[name=mode]:checked')?.value ?? 'here'

async function take(given, others = []) {
  passed.push(...others)
  tellPassed()
  if (!given.length) return say('There are no photographs in it.')
  trouble('')
  const name = $('deployment')?.value
  const trim = name ? (await bundle).transforms.deployment_trims[name] : undefined
  const added = given.map(({ file, path }) => ({ file, path, trim, by: mode(), score: null }))
  if (!running) { done = 0; queue = []; shown = null; busy = 0 }
  queue.push(...added)
  records.push(...added)
  if (!shown) { show(added[0]); intoView() }
  run()
}

const kindOf = path => /\.[^./\\]+$/.exec(path)?.[0].toLowerCase() ?? 'no ending'

function tellPassed() {
  $('passed').hidden = !passed.length
  const kinds = new Map()
  for (const path of passed) kinds.set(kindOf(path), 1 + (kinds.get(kindOf(path)) ?? 0))
  $('passed-count').textContent = `${passed.length} other ${passed.length === 1 ? 'file was' : 'files were'} passed over: ` +
    `not a photograph that this page reads (${[...kinds].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${count} ${kind}`).join(', ')})`
  $('passed-names').textContent = passed.slice(0, 200).join(', ') + (passed.length > 200 ? ` and ${passed.length - 200} more` : '')
}

async function run() {
  if (running) return
  running = true
  const round = ++stopped
  $('working').hidden = false
  $('pause').hidden = queue.length < 2
  say(mode() === 'here' ? 'Looking…' : 'Sending…')
  const lock = await navigator.wakeLock?.request('screen').catch(() => null)
  try {
    if (queue.some(o => o.by === 'here')) { engine ??= startEngine('wasm'); await engine.ready }
    while (done < queue.length && round === stopped) {
      $('pause').hidden = queue.length < 2
      progress()
      if (paused) { await paused; continue }
      if (queue[done].by === 'here') tryGraphicsCard(queue.length - done)
      const record = queue[done], began = performance.now()
      await (record.by === 'space' ? answerBySpace(record) : answerHere(record))
      if (round !== stopped && !record.prediction && !record.error) break
      done += 1
      busy += performance.now() - began
      unsaved = queue.length > 1
      if (shown === record || !shown) show(record)
      if (following) intoView()
      following &&= done === 1
      drawSoon()
    }
  } catch (error) {
    engine = undefined
    trouble(`This browser cannot look at photographs: ${error.message}.`)
  }
  lock?.release()
  finish()
}

function finish() {
  const left = queue.slice(done).filter(o => !o.error && !o.prediction)
  for (const record of left) Object.assign(record, { error: 'was not looked at: it was stopped before', left: true })
  if (left.includes(shown)) hideAnswer()
  running = false
  queue = []
  pause(false)
  $('working').hidden = true
  const broken = records.filter(o => o.error && !o.left).length, good = records.filter(o => o.prediction).length
  if (!records.length) return say('')
  const others = (broken ? `, ${broken} cannot be used` : '') + (left.length ? `, ${left.length} left out` : '')
  say(records.length === 1 && good ? 'Done.' : `${good} looked at${others}.`)
  draw()
}

function pause(on) {
  goOn?.()
  paused = on ? new Promise(resolve => { goOn = () => { paused = goOn = null; resolve() } }) : null
  $('pause').textContent = on ? 'Go on' : 'Pause'
  if (running) { say(on ? 'Paused. What is done stays.' : mode() === 'here' ? 'Looking…' : 'Sending…'); progress() }
}

function inWordsOfTime(seconds) {
  if (seconds < 50) return `about ${Math.max(5, Math.round(seconds / 5) * 5)} seconds left`
  const minutes = Math.max(1, Math.round(seconds / 60))
  return minutes < 90 ? `about ${minutes} ${minutes === 1 ? 'minute' : 'minutes'} left` : `about ${(minutes / 60).toFixed(1)} hours left`
}

function progress() {
  $('progress').max = queue.length
  $('progress').value = done
  const left = queue.length - done
  const time = paused ? ' · paused' : done > 4 && left ? ` · ${inWordsOfTime(busy / done * left / 1000)}` : ''
  $('counted').textContent = `${done.toLocaleString('en')} of ${queue.length.toLocaleString('en')}${time}`
}

const listed = files => [...files].map(file => ({ file, path: file.webkitRelativePath || file.name }))
const byPath = (a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : 0

// Of a folder: its photographs, and the paths of the other files. What is hidden is neither.
async function sorted(files) {
  const { endings } = await settings, seen = files.filter(o => !o.path.split('/').some(part => part.startsWith('.'))).sort(byPath)
  const isPhotograph = ({ path }) => endings.includes(kindOf(path))
  return [seen.filter(isPhotograph), seen.filter(o => !isPhotograph(o)).map(o => o.path)]
}

async function chosen({ target }) {
  const given = listed(target.files)
  target.value = ''
  await (target.id === 'folder' ? take(...await sorted(given)) : take(given))
}

async function entriesBelow(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null)
    return file ? [{ file, path: entry.fullPath.replace(/^\//, '') }] : []
  }
  const reader = entry.createReader(), found = []
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => [])
    if (!some.length) return found
    for (const one of some) found.push(...await entriesBelow(one))
  }
}

async function dropped(event) {
  event.preventDefault()
  $('drop').classList.remove('over')
  const entries = [...event.dataTransfer.items].map(o => o.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.length) return take(listed(event.dataTransfer.files))
  const given = [], others = []
  say('Reading the folder…')
  for (const entry of entries) {
    const below = await entriesBelow(entry), [photographs, rest] = entry.isFile ? [below, []] : await sorted(below)
    given.push(...photographs)
    others.push(...rest)
  }
  take(given, others)
}

async function tryExample({ currentTarget: { dataset } }) {
  const answer = await fetch(dataset.file).catch(() => null)
  if (!answer?.ok) return trouble('The example could not be loaded.')
  const name = dataset.file.split('/').at(-1)
  take([{ file: new File([await answer.blob()], name, { type: 'image/jpeg' }), path: name }])
}

// ── answers out ─────────────────────────────────────────────────────────────────────────────────────────────────────
function decisionMark({ decision, error, left }) {
  if (error) return make('span', left ? 'not looked at' : 'cannot be used', { class: 'decision broken' })
  return decision ? make('span', inWords(decision), { class: `decision ${decision}` }) : make('span', 'said by the Space', { class: 'decision blank' })
}

let large, pictured
function show(record) {
  shown = record
  if (record !== pictured) {
    if (large) URL.revokeObjectURL(large)
    large = URL.createObjectURL(record.file)  // read from the disk as it is shown; let go of with the next one
    const image = make('img', undefined, { alt: '' }), photograph = make('div', undefined, { class: 'photograph' })
    image.onerror = () => image.remove()
    image.onload = () => { if (following) intoView() }
    image.src = large
    photograph.append(image)
    $('figure').replaceChildren(photograph, make('figcaption', record.path))
    pictured = record
  }
  const why = /^[a-z]/.test(record.error) ? `This file ${record.error}.` : `${record.error}.`
  if (record.error) $('verdict').replaceChildren(make('h2', 'No answer'), decisionMark(record), make('p', why))
  else if (record.prediction) $('verdict').replaceChildren(...answered(record))
  else $('verdict').replaceChildren(make('p', record.by === 'space' ? 'Sending…' : 'Looking…', { class: 'latin' }))
  $('answer').hidden = false
  if (record.heat) layHeat(record)
}

// ── where it looked ─────────────────────────────────────────────────────────────────────────────────────────────────
const FINER = 16, ORANGE = [230, 159, 0], STRENGTH = .65 // as `heat_map.draw_heat_map` has them
let heatShown = false

// Pillow's bicubic enlargement of one row or column.
function enlarged(line) {
  const near = x => line[Math.min(line.length - 1, Math.max(0, x))], cubic = x => {
    x = Math.abs(x)
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-.5 * x + 2.5) * x - 4) * x + 2 : 0
  }
  return Array.from({ length: line.length * FINER }, (_, o) => {
    const at = (o + .5) / FINER - .5, low = Math.floor(at)
    let sum = 0, all = 0
    for (let x = low - 1; x <= low + 2; x++) {
      if (x < 0 || x >= line.length) continue
      sum += cubic(at - x) * near(x)
      all += cubic(at - x)
    }
    return sum / all
  })
}

function heatCanvas({ rows, columns, cells }) {
  const wide = Array.from({ length: rows }, (_, y) => enlarged(cells.slice(y * columns, (y + 1) * columns)))
  const canvas = make('canvas', undefined, { class: 'heat', width: columns * FINER, height: rows * FINER, 'aria-hidden': 'true' })
  const context = canvas.getContext('2d'), pixels = context.createImageData(canvas.width, canvas.height)
  for (let x = 0; x < canvas.width; x++) {
    enlarged(wide.map(o => o[x])).forEach((heat, y) => {
      pixels.data.set([...ORANGE, Math.trunc(Math.min(1, Math.max(0, heat)) * STRENGTH * 255)], 4 * (y * canvas.width + x))
    })
  }
  context.putImageData(pixels, 0, 0)
  return canvas
}

async function layHeat(record) {
  const [top, bottom] = record.trim ?? (await bundle).transforms.trim, image = $('figure').querySelector('img')
  if (record !== pictured || !image || $('figure').querySelector('.heat')) return
  const canvas = heatCanvas(record.heat), place = () => {
    const cut = [top, bottom].map(o => Math.round(o * image.naturalHeight) / image.naturalHeight)
    canvas.style.top = `${cut[0] * 100}%`
    canvas.style.height = `${(1 - cut[0] - cut[1]) * 100}%`
  }
  image.complete ? place() : image.addEventListener('load', place)
  const box = make('input', undefined, { type: 'checkbox' }), label = make('label', undefined, { class: 'switch' })
  label.append(box, ' Show where it looked ', make('small', '(orange: what speaks for the answer)', { class: 'soft' }))
  box.checked = heatShown
  canvas.hidden = !heatShown
  box.addEventListener('change', () => { heatShown = box.checked; canvas.hidden = !heatShown })
  image.after(canvas)
  $('figure').append(label)
}

// The answer stands below what was tapped: on a phone, below the screen. The page follows it until the visitor scrolls.
let following = false
for (const kind of ['wheel', 'touchmove', 'keydown']) addEventListener(kind, () => { following = false }, { passive: true })
function intoView() {
  following = true
  const { top, bottom } = $('answer').getBoundingClientRect()
  if (top < 0 || bottom > innerHeight || matchMedia('(max-width: 40rem)').matches) $('answer').scrollIntoView({ block: 'start' })
}

function hideAnswer() {
  shown = pictured = null
  if (large) URL.revokeObjectURL(large)
  large = null
  $('answer').hidden = true
  $('figure').replaceChildren()
  $('verdict').replaceChildren()
}

function latinOf({ prediction, common, taxon, reason }) {
  if (reason === UNKNOWN_REASON || prediction === 'blank') return ''
  const name = taxon ? taxon.name : prediction
  return name === common ? '' : name
}

function answered(record) {
  const bars = make('ul', undefined, { class: 'bars', 'aria-label': 'Probabilities' })
  for (const [name, score] of record.bars) {
    const row = make('li'), track = make('span', undefined, { class: 'track', 'aria-hidden': 'true' })
    const bar = track.appendChild(make('span', undefined, { class: 'bar' }))
    bar.style.width = `${score * 100}%`
    row.append(make('span', name), track, make('b', percent(score)))
    bars.append(row)
  }
  // Without measured thresholds no class can be sure, and the sentence above says so.
  const told = record.reason && (measured || record.taxon || record.reason === UNKNOWN_REASON)
  const why = told ? [make('p', `For a volunteer: ${record.reason}.`, { class: 'why' })] : []
  const sentence = record.sentence ? [make('p', record.sentence, { class: 'soft' })] : []
  const mark = record.sure ? make('p', record.sure, { class: `decision ${measured ? record.decision : 'blank'}` }) : decisionMark(record)
  return [make('h2', record.common), make('p', latinOf(record), { class: 'latin' }), mark, ...sentence, ...why, bars]
}

function drawSoon() { drawing ??= setTimeout(draw, 250) }

const chosenRows = () => {
  const label = $('by-class').value, decision = $('by-decision').value
  const rows = records.filter(o => (o.prediction || o.error) && (!label || o.common === label) && (!decision || (o.error ? 'broken' : o.decision) === decision))
  const { key, up } = order
  if (!key) return rows
  const side = up ? 1 : -1
  return rows.sort((a, b) => (a[key] ?? '') === (b[key] ?? '') ? 0 : (a[key] ?? '') < (b[key] ?? '') ? -side : side)
}

function draw() {
  clearTimeout(drawing)
  drawing = null
  const finished = records.filter(o => o.prediction || o.error)
  $('many').hidden = finished.length < 2
  if (finished.length < 2) return
  const classes = [...new Map(finished.filter(o => o.prediction).map(o => [o.common, o.common]))]
  options($('by-class'), 'all', classes.sort((a, b) => a[1] < b[1] ? -1 : 1))
  const decisions = Object.keys(WORDS).filter(decision => finished.some(o => o.decision === decision)).map(decision => [decision, inWords(decision)])
  options($('by-decision'), 'all', finished.some(o => o.error) ? [...decisions, ['broken', 'cannot be used']] : decisions)
  counts(finished)
  const rows = chosenRows()
  first = Math.max(0, Math.min(first, Math.floor((rows.length - 1) / PAGE) * PAGE))
  showRows(rows.slice(first, first + PAGE))
  $('pages').hidden = rows.length <= PAGE
  $('where').textContent = `${first + 1} to ${Math.min(first + PAGE, rows.length)} of ${rows.length}`
  $('earlier').disabled = !first
  $('later').disabled = first + PAGE >= rows.length
}

// Rows that stay are not made anew: what has the focus keeps it, and pictures do not flicker.
const onPage = new Map()
function showRows(wanted) {
  const staying = new Set(wanted)
  for (const [record, { url }] of onPage) if (!staying.has(record)) { URL.revokeObjectURL(url); onPage.delete(record) }
  const rows = wanted.map(record => {
    if (!onPage.has(record)) onPage.set(record, tableRow(record))
    return onPage.get(record).row
  })
  const before = [...$('rows').children]
  if (before.length > rows.length || before.some((row, o) => row !== rows[o])) $('rows').replaceChildren(...rows)
  else $('rows').append(...rows.slice(before.length))
}

function options(select, all, pairs) {
  const value = select.value
  const now = [['', all], ...pairs]
  if (JSON.stringify(now) === select.dataset.now) return
  select.dataset.now = JSON.stringify(now)
  select.replaceChildren(...now.map(([key, name]) => make('option', name, { value: key })))
  select.value = now.some(([key]) => key === value) ? value : ''
}

function counts(finished) {
  const kinds = [['photographs', () => true], [WORDS.blank, o => o.decision === 'blank'], ['sure', o => o.decision === 'accept'],
                 ['for a volunteer', o => o.decision === 'review'], ['cannot be used', o => o.error && !o.left], ['not looked at', o => o.left]]
  $('ways').replaceChildren(...kinds.map(([name, is]) => [name, finished.filter(is).length]).filter(([, count]) => count).map(([name, count]) => {
    const box = make('div')
    box.append(make('b', count), make('span', name))
    return box
  }))
}

function tableRow(record) {
  const row = make('tr'), url = record.thumbnail && URL.createObjectURL(record.thumbnail)
  const cell = (child, name) => {
    const td = make('td', undefined, name ? { class: name } : {})
    td.append(...[child].flat())
    row.append(td)
  }
  const picture = record.thumbnail ? make('img', undefined, { alt: '', loading: 'lazy' }) : make('span', '', { class: 'nothing' })
  if (url) picture.src = url
  cell(picture)
  const open = make('button', record.path, { type: 'button', class: 'open' })
  open.onclick = () => { show(record); intoView() }
  cell(open, 'named')
  if (record.error) {
    cell(record.error, 'why')
    cell('')
  } else {
    const latin = latinOf(record)
    cell([record.common, ...(latin ? [make('em', latin)] : [])])
    cell(record.reason === UNKNOWN_REASON ? '–' : percent(record.taxon ? record.taxon.score : record.score))
  }
  cell(decisionMark(record), 'wayed')
  return { row, url }
}

// ── the table as a file: what `camtraps predict` writes ─────────────────────────────────────────────────────────────
// Names stay as they are, so a file called =1+1.jpg is a formula to a spreadsheet that is not told otherwise.
function figure(value) {  // rounded and written as Python does
  const near = Math.round(value * 1e6), rounded = (near - value * 1e6 === .5 && near % 2 ? near - 1 : near) / 1e6
  if (Number.isInteger(rounded)) return `${rounded}.0`
  return rounded < 1e-4 ? rounded.toExponential().replace(/e-(\d)$/, 'e-0$1') : String(rounded)
}

const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

async function csv() {
  const description = await bundle, { classes, common_names: names } = description, doubts = doubtColumns(description)
  const finished = records.filter(o => o.prediction || o.error)
  const rows = [['path', 'prediction', 'common_name', 'score', 'decision', ...doubts, ...classes, 'error']]
  for (const o of finished.filter(o => !o.error)) {
    const cells = { unknown_score: o.scores ? figure(o.far) : '', review_reason: o.reason ?? '', taxon: o.taxon?.name ?? '',
                    taxon_rank: o.taxon?.rank ?? '', taxon_score: o.taxon ? figure(o.taxon.score) : '' }
    rows.push([o.path, o.prediction, o.scores ? names[o.prediction] ?? o.prediction : o.common, figure(o.score), o.decision,
               ...doubts.map(name => cells[name]), ...classes.map((_, c) => o.scores ? figure(o.scores[c]) : ''), ''])
  }
  for (const o of finished.filter(o => o.error)) rows.push([o.path, '', '', '', '', ...doubts.map(() => ''), ...classes.map(() => ''), o.error])
  return rows.map(row => row.map(quoted).join(',') + '\n').join('')
}

async function download() {
  const link = make('a', undefined, { download: 'predictions.csv' })
  link.href = URL.createObjectURL(new Blob([await csv()], { type: 'text/csv' }))
  link.click()
  unsaved = running
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

function clear() {
  stopped += 1
  goOn?.()
  records = []
  passed = []
  tellPassed()
  unsaved = false
  order = { key: null, up: true }
  for (const th of document.querySelectorAll('th[aria-sort]')) th.removeAttribute('aria-sort')
  hideAnswer()
  draw()
  showRows([])
  say('')
  $('files').focus()
}

// ── does this device answer as it should? ───────────────────────────────────────────────────────────────────────────
async function check() {
  $('checked').textContent = 'Checking…'
  try {
    engine ??= startEngine('wasm')
    const { photographs } = await read('golden.json'), { same_scores: same } = await settings
    const own = photographs.filter(o => o.file), most = { exact: 0, other: 0 }
    for (const record of own) {
      const { scores } = await answersTo(engine, record), kind = isExact(record) ? 'exact' : 'other'
      most[kind] = Math.max(most[kind], apart(record.scores, scores))
    }
    const verdict = most.exact <= same && most.other <= .03 ? 'It does' : 'It does not: use another browser'
    $('checked').textContent = `${verdict} (${own.length} photographs, ${most.exact.toFixed(4)} apart at most, ${most.other.toFixed(4)} where browsers decode differently).`
  } catch (error) { $('checked').textContent = `It could not be checked: ${error.message}.` }
}

// ── a new version ───────────────────────────────────────────────────────────────────────────────────────────────────
async function keepOnDevice() {
  const { serviceWorker } = navigator
  if (!serviceWorker) return
  const registration = await serviceWorker.register('service_worker.js'), had = serviceWorker.controller
  const tell = () => { if (registration.waiting && serviceWorker.controller) $('newer').hidden = false }
  let asked = false
  $('renew').addEventListener('click', () => {
    asked = true
    registration.waiting ? registration.waiting.postMessage('take over') : location.reload()
  })
  serviceWorker.addEventListener('controllerchange', () => { if (asked) location.reload(); else if (had) $('newer').hidden = false })
  registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', tell))
  document.addEventListener('visibilitychange', () => { if (!document.hidden) registration.update().catch(() => {}) })
  tell()
  await serviceWorker.ready
  $('offline').textContent = 'Kept on this device: it works without a network. Made by urbanrivers_camtraps.'
}

// ── wiring ──────────────────────────────────────────────────────────────────────────────────────────────────────────
for (const id of ['files', 'folder', 'camera']) $(id).addEventListener('change', chosen)
for (const button of document.querySelectorAll('.example')) button.addEventListener('click', tryExample)
document.addEventListener('dragover', event => { event.preventDefault(); $('drop').classList.add('over') })
document.addEventListener('dragleave', event => { if (!event.relatedTarget) $('drop').classList.remove('over') })
document.addEventListener('drop', dropped)
document.addEventListener('paste', event => { if (event.clipboardData.files.length) take(listed(event.clipboardData.files)) })
$('pause').addEventListener('click', () => pause(!paused))
$('cancel').addEventListener('click', () => { stopped += 1; goOn?.(); say('Stopping…') })
addEventListener('beforeunload', event => { if (running || unsaved) event.preventDefault() })
if (!('webkitdirectory' in $('folder'))) $('folder').parentElement.hidden = true  // an iPhone has no folders to choose
$('download').addEventListener('click', download)
$('clear').addEventListener('click', clear)
$('check')?.addEventListener('click', check)
$('earlier').addEventListener('click', () => { first -= PAGE; draw() })
$('later').addEventListener('click', () => { first += PAGE; draw() })
for (const id of ['by-class', 'by-decision']) $(id).addEventListener('change', () => { first = 0; draw() })
for (const th of document.querySelectorAll('th[data-key]')) {
  th.firstElementChild.addEventListener('click', () => {
    order = { key: th.dataset.key, up: order.key === th.dataset.key ? !order.up : th.dataset.key !== 'score' }
    for (const other of document.querySelectorAll('th[aria-sort]')) other.removeAttribute('aria-sort')
    th.setAttribute('aria-sort', order.up ? 'ascending' : 'descending')
    draw()
  })
}
for (const radio of document.querySelectorAll('input[name=mode]')) {
  radio.addEventListener('change', () => {
    $('promise').textContent = mode() === 'here' ? 'They stay on your device: the model comes to them.' : `They are sent to the Space ${SPACE}.`
  })
}
engine = startEngine('wasm')
engine.ready.then(() => { if (!running) say('Ready.') }, error => trouble(`This browser cannot look at photographs: ${error.message}.`))
keepOnDevice().catch(() => {})
