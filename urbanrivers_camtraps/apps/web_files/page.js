// The page: takes files, hands them to the worker (or to the Space) one by one, and shows what comes back.
// Names of files and classes come from others: they are set as text, never as HTML.
const $ = id => document.getElementById(id)
const SPACE = document.documentElement.dataset.space
const ENDING = /\.(jpe?g|png|webp|tiff?|bmp)$/i, PAGE = 100, BARS = 5
const WORDS = { blank: 'nobody there', accept: 'sure', review: 'not sure: show it to a volunteer' }
const GUESS = 'a guess: trust was not measured'
const bundle = fetch('bundle.json').then(answer => answer.ok ? answer.json() : Promise.reject(new Error('bundle.json is missing')))
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
const urls = new Set()

function inWords (decision) {
  return decision === 'review' && !measured ? GUESS : WORDS[decision]
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
const waiting = new Map()
let worker, ready

function startWorker() {
  const source = `import ${JSON.stringify(new URL('worker.js', location.href).href)}`
  const address = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
  worker = new Worker(address, { type: 'module' })
  ready = new Promise((resolve, reject) => {
    worker.onerror = () => {
      reject(new Error('the model could not be started. Load the page again, or use a newer browser'))
      for (const answer of waiting.values()) answer({ error: 'cannot be looked at (the model stopped)' })
      waiting.clear()
    }
    worker.onmessage = ({ data }) => {
      URL.revokeObjectURL(address)
      if (data.ready) return resolve()
      if (data.failed) return reject(new Error(data.failed))
      waiting.get(data.id)?.(data)
      waiting.delete(data.id)
    }
  })
  return ready
}

let number = 0
async function lookHere(file, trim) {
  await ready
  return new Promise(resolve => { waiting.set(++number, resolve); worker.postMessage({ id: number, file, trim }) })
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

async function answerHere(record) {
  const description = await bundle
  const answer = await lookHere(record.file, record.trim ?? description.transforms.trim)
  record.thumbnail = answer.thumbnail
  if (answer.error?.startsWith('cannot be looked at')) { worker.terminate(); await startWorker() }  // its memory may be spoilt
  if (answer.error) return record.error = answer.error
  const { classes, common_names: names } = description
  const verdict = decided(answer.scores, description), { best, decision, far, taxon, reason } = verdict
  const sorted = [...answer.scores.keys()].sort((a, b) => answer.scores[b] - answer.scores[a] || a - b)
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

async function take(given) {
  if (!given.length) return say('There are no photographs in it.')
  trouble('')
  const name = $('deployment')?.value
  const trim = name ? (await bundle).transforms.deployment_trims[name] : undefined
  const added = given.map(({ file, path }) => ({ file, path, trim, by: mode(), score: null }))
  if (!running) { done = 0; queue = []; shown = null }
  queue.push(...added)
  records.push(...added)
  run()
}

async function run() {
  if (running) return
  running = true
  const round = ++stopped
  $('working').hidden = false
  say(mode() === 'here' ? 'Looking…' : 'Sending…')
  try {
    if (queue.some(o => o.by === 'here')) { ready ?? startWorker(); await ready }
    while (done < queue.length && round === stopped) {
      progress()
      const record = queue[done]
      await (record.by === 'space' ? answerBySpace(record) : answerHere(record))
      if (round !== stopped && !record.prediction && !record.error) break
      done += 1
      if (!shown && (record.prediction || queue.length === 1)) show(record)
      drawSoon()
    }
  } catch (error) {
    ready = undefined
    trouble(`This browser cannot look at photographs: ${error.message}.`)
  }
  finish()
}

function finish() {
  const left = queue.length - done
  if (left) records = records.filter(o => o.prediction || o.error)
  running = false
  queue = []
  $('working').hidden = true
  const broken = records.filter(o => o.error).length, good = records.length - broken
  if (!records.length) return say('')
  const others = (broken ? `, ${broken} cannot be used` : '') + (left ? `, ${left} left out` : '')
  say(records.length === 1 && good ? 'Done.' : `${good} looked at${others}.`)
  draw()
}

function progress() {
  $('progress').max = queue.length
  $('progress').value = done
  $('counted').textContent = `${done} of ${queue.length}`
}

const listed = files => [...files].map(file => ({ file, path: file.webkitRelativePath || file.name }))
const inFolder = ({ path }) => ENDING.test(path) && !path.split('/').some(part => part.startsWith('.'))
const byPath = (a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : 0

function chosen(event) {
  const given = listed(event.target.files)
  take(event.target.id === 'folder' ? given.filter(inFolder).sort(byPath) : given)
  event.target.value = ''
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
  const given = []
  for (const entry of entries) {
    const below = await entriesBelow(entry)
    given.push(...entry.isFile ? below : below.filter(inFolder).sort(byPath))
  }
  take(given)
}

async function tryExample({ currentTarget: { dataset } }) {
  const answer = await fetch(dataset.file).catch(() => null)
  if (!answer?.ok) return trouble('The example could not be loaded.')
  const name = dataset.file.split('/').at(-1)
  take([{ file: new File([await answer.blob()], name, { type: 'image/jpeg' }), path: name }])
}

// ── answers out ─────────────────────────────────────────────────────────────────────────────────────────────────────
function address(blob) {
  const url = URL.createObjectURL(blob)
  urls.add(url)
  return url
}

function decisionMark({ decision, error }) {
  if (error) return make('span', 'cannot be used', { class: 'decision broken' })
  return decision ? make('span', inWords(decision), { class: `decision ${decision}` }) : make('span', 'said by the Space', { class: 'decision blank' })
}

let large
function show(record) {
  shown = record
  if (large) URL.revokeObjectURL(large)
  const figure = make('figure'), said = make('div')
  large = URL.createObjectURL(record.file)  // read from the disk as it is shown; let go of with the next one
  const image = make('img', undefined, { alt: '' })
  image.onerror = () => image.remove()
  image.src = large
  figure.append(image, make('figcaption', record.path))
  const why = /^[a-z]/.test(record.error) ? `This photograph ${record.error}.` : `${record.error}.`
  if (record.error) said.append(make('h2', 'No answer'), decisionMark(record), make('p', why))
  else said.append(...answered(record))
  $('answer').replaceChildren(figure, said)
  $('answer').hidden = false
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
  const why = record.reason ? [make('p', `For a volunteer: ${record.reason}.`, { class: 'why' })] : []
  return [make('h2', record.common), make('p', latinOf(record), { class: 'latin' }), decisionMark(record), ...why, bars]
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
  for (const url of urls) URL.revokeObjectURL(url)
  urls.clear()
  $('rows').replaceChildren(...rows.slice(first, first + PAGE).map(tableRow))
  $('pages').hidden = rows.length <= PAGE
  $('where').textContent = `${first + 1} to ${Math.min(first + PAGE, rows.length)} of ${rows.length}`
  $('earlier').disabled = !first
  $('later').disabled = first + PAGE >= rows.length
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
                 ['for a volunteer', o => o.decision === 'review'], ['cannot be used', o => o.error]]
  $('ways').replaceChildren(...kinds.map(([name, is]) => [name, finished.filter(is).length]).filter(([, count]) => count).map(([name, count]) => {
    const box = make('div')
    box.append(make('b', count), make('span', name))
    return box
  }))
}

function tableRow(record) {
  const row = make('tr')
  const cell = (child, name) => {
    const td = make('td', undefined, name ? { class: name } : {})
    td.append(...[child].flat())
    row.append(td)
  }
  const picture = record.thumbnail ? make('img', undefined, { alt: '', loading: 'lazy' }) : make('span', '', { class: 'nothing' })
  if (record.thumbnail) picture.src = address(record.thumbnail)
  cell(picture)
  const open = make('button', record.path, { type: 'button', class: 'open' })
  open.onclick = () => { show(record); $('answer').scrollIntoView({ block: 'start' }) }
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
  return row
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
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

function clear() {
  stopped += 1
  records = []
  shown = null
  order = { key: null, up: true }
  for (const th of document.querySelectorAll('th[aria-sort]')) th.removeAttribute('aria-sort')
  if (large) URL.revokeObjectURL(large)
  $('answer').hidden = true
  $('answer').replaceChildren()
  draw()
  $('rows').replaceChildren()
  say('')
  $('files').focus()
}

// ── does this device answer as it should? ───────────────────────────────────────────────────────────────────────────
async function check() {
  $('checked').textContent = 'Checking…'
  try {
    ready ?? startWorker()
    const golden = await (await fetch('golden.json')).json(), { transforms } = await bundle
    const own = golden.photographs.filter(o => o.file)
    let apart = 0
    for (const record of own) {
      const file = await (await fetch(record.file)).blob()
      const answer = await lookHere(file, transforms.trim)
      if (answer.error) throw new Error(`${record.name} ${answer.error}`)
      record.scores.forEach((score, o) => { apart = Math.max(apart, Math.abs(score - answer.scores[o])) })
    }
    const verdict = apart <= .02 ? 'It does' : 'It does not: use another browser'
    $('checked').textContent = `${verdict} (${own.length} photographs, ${apart.toFixed(4)} apart at most).`
  } catch (error) { $('checked').textContent = `It could not be checked: ${error.message}.` }
}

// ── wiring ──────────────────────────────────────────────────────────────────────────────────────────────────────────
for (const id of ['files', 'folder', 'camera']) $(id).addEventListener('change', chosen)
for (const button of document.querySelectorAll('.example')) button.addEventListener('click', tryExample)
document.addEventListener('dragover', event => { event.preventDefault(); $('drop').classList.add('over') })
document.addEventListener('dragleave', event => { if (!event.relatedTarget) $('drop').classList.remove('over') })
document.addEventListener('drop', dropped)
document.addEventListener('paste', event => { if (event.clipboardData.files.length) take(listed(event.clipboardData.files)) })
$('cancel').addEventListener('click', () => { stopped += 1; say('Stopping…') })
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
startWorker().then(() => { if (!running) say('Ready.') }, error => trouble(`This browser cannot look at photographs: ${error.message}.`))
navigator.serviceWorker?.register('service_worker.js').then(() => navigator.serviceWorker.ready).then(() => {
  $('offline').textContent = 'Kept on this device: it works without a network. Made by urbanrivers_camtraps.'
}).catch(() => {})
