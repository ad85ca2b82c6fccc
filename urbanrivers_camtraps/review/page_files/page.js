// The page: shows one photograph after the other, and moves on only when the server has the answer on its disk.
// Labels, reasons and aliases come from others: they are set as text, never as HTML.
const $ = id => document.getElementById(id)
const PREFIX = `camtraps ${location.pathname} `, AHEAD = 4, WAIT = 4000
const BOXES = ['left', 'top', 'right', 'bottom']
let items = [], passed, reviewer, settings, looking = null, boxes = true, refilling = null
const answered = new Set(), preloaded = new Map(), keys = new Map()

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag)
  if (text !== undefined) element.textContent = text
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  return element
}

function withKey(button, key) {
  if (key) button.append(make('kbd', key))
  return button
}

const state = value => value ? $('review').dataset.state = value : $('review').dataset.state
const say = text => { $('status').textContent = text }

function trouble(text) {
  $('trouble').hidden = !text
  $('trouble').textContent = text ?? ''
}

// ── what the browser remembers, beside the server ───────────────────────────────────────────────────────────────────
function keep(name, value) {
  try { localStorage.setItem(PREFIX + name, JSON.stringify(value)) } catch { /* full or forbidden: the server has what counts */ }
}

function kept(name) {
  try { return JSON.parse(localStorage.getItem(PREFIX + name)) } catch { return null }
}

function forget(name) {
  try { localStorage.removeItem(PREFIX + name) } catch { /* it was never kept */ }
}

const page = kept('page') ?? crypto.randomUUID()
keep('page', page)

// ── talking to the server ───────────────────────────────────────────────────────────────────────────────────────────
// What the server cannot store or does not hear is sent again, with the same token, until it says ok: never lost, never twice.
async function post(path, body) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 5000)) {
    let answer, said
    try {
      answer = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
      said = await answer.json()
      if (answer.ok) { trouble(''); return said }
    } catch { /* cut, or no JSON: below */ }
    if (answer && answer.status >= 400 && answer.status < 500) throw new Error(said?.message ?? `The server refused (${answer.status})`)
    const why = said?.message ?? (answer && !answer.ok ? `The server failed (${answer.status})` : 'The server cannot be reached: is camtraps review running?')
    trouble(`${path === 'answer' ? 'Not saved yet' : 'Waiting'}. ${why} Trying again …`)
    await new Promise(resolve => setTimeout(resolve, wait))
  }
}

async function sendKept() {
  let names = []
  try { names = Object.keys(localStorage).filter(o => o.startsWith(`${PREFIX}answer `)).map(o => o.slice(PREFIX.length)) } catch { /* forbidden */ }
  for (const name of names) {
    try { await post('answer', kept(name)) } catch (error) { trouble(error.message) }
    forget(name)
  }
}

function count(progress) {
  $('progress').max = progress.total
  $('progress').value = progress.done
  const changed = progress.changed === null ? '' : ` · ${progress.changed} changed`
  $('counted').textContent = `${progress.done} of ${progress.total}${changed}`
}

// One request at a time; photographs that came with an earlier one, or were answered meanwhile, are left out.
async function refill() {
  while (refilling) await refilling
  const asker = reviewer
  refilling = post('next', { reviewer, page, have: items.map(o => o.media_id), passed })
  let said
  try { said = await refilling } finally { refilling = null }
  if (asker !== reviewer) return refill()
  count(said.progress)
  for (const item of said.items) {
    if (items.some(o => o.media_id === item.media_id) || answered.has(item.media_id)) continue
    items.push(item)
    preload(item.media_id)
  }
  return said
}

const address = (media, small) => `photograph?${new URLSearchParams({ of: media, ...small && { small: 1 } })}`

function preload(media) {
  if (preloaded.has(media)) return
  const image = new Image()
  image.src = address(media)
  preloaded.set(media, image)
  if (preloaded.size > 40) preloaded.delete(preloaded.keys().next().value)
}

// ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────
async function onward() {
  state('loading')
  let said = null
  while (!items.length) {
    said = await refill()
    if (items.length) break
    if (!ended(said)) return
    await new Promise(resolve => setTimeout(resolve, WAIT))
    if (state() !== 'waiting') return
  }
  show()
  if (items.length < AHEAD && !said) refill().catch(error => trouble(error.message))
}

// Say that there is nothing to do; whether to ask again, because others hold the rest.
function ended({ waiting, progress }) {
  state(waiting ? 'waiting' : 'done')
  $('review').hidden = true
  $('end').hidden = false
  $('end-title').textContent = waiting ? 'Others are looking at the last ones' : 'Nothing is left to review'
  $('end-text').textContent = waiting
    ? `${waiting} photographs are with other reviewers. They come here if they are not answered within some minutes.`
    : progress.changed === null ? `${progress.done} of ${progress.total} bursts are reviewed. The next camtraps survey --sample takes them in.`
      : `${progress.done} of ${progress.total} photographs are reviewed, and the label of ${progress.changed} changed. The next camtraps clean takes them in.`
  return waiting > 0
}

function show() {
  const item = items[0]
  $('review').hidden = false
  $('end').hidden = true
  $('review').dataset.media = item.media_id
  $('other').hidden = true
  $('reason').textContent = item.reason
  $('said').hidden = !item.opinions.some(o => o.label)  // nothing leads the eye in a sample by chance
  $('opinions').replaceChildren(...item.opinions.map(opinion))
  $('strip').replaceChildren(...item.burst.map(thumbnail))
  $('strip').hidden = item.burst.length < 2
  look(item.media_id)
}

function opinion({ who, label, name, detail, key }) {
  const card = label ? make('button', undefined, { type: 'button' }) : make('div', undefined, { class: 'missing' })
  card.append(make('small', who), make('b', name || 'not there'))
  if (detail) card.append(make('small', detail))
  if (!label) return card
  card.addEventListener('click', () => answer(label, name))
  return withKey(card, key)
}

function thumbnail({ media_id: media, time }) {
  const button = make('button', undefined, { type: 'button', 'aria-label': `Photograph of ${time || 'the burst'}`, title: time })
  button.append(make('img', undefined, { src: address(media, true), alt: '', loading: 'lazy' }))
  button.dataset.media = media
  button.classList.toggle('asked', media === items[0].media_id)
  button.addEventListener('click', () => look(media))
  return button
}

// Look at the photograph that is asked about, or at another one of its burst; keys count once it can be seen.
function look(media) {
  if (!['ready', 'loading'].includes(state())) return
  const item = items[0], asked = media === item.media_id
  looking = media
  state('loading')
  $('boxes').replaceChildren()
  $('broken').hidden = true
  const image = $('photograph'), seen = () => { if (looking === media && state() === 'loading') state('ready') }
  image.onload = () => { seen(); if (looking === media) drawBoxes() }
  image.onerror = async () => {
    const said = await fetch(image.src).then(o => o.text(), () => 'The server cannot be reached')
    if (looking !== media) return
    $('broken').textContent = `This photograph cannot be shown: ${said}`
    $('broken').hidden = false
    seen()
  }
  image.src = address(media)
  const time = item.burst.find(o => o.media_id === media)?.time ?? ''
  $('caption').textContent = asked ? [item.deployment, time].filter(Boolean).join(' · ')
    : `${time} · another photograph of the burst: your answer is for the one with the thick frame`
  $('caption').classList.toggle('elsewhere', !asked)
  for (const button of $('strip').children) {
    button.setAttribute('aria-current', button.dataset.media === media)
    if (button.dataset.media === media) button.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }
}

function drawBoxes() {
  const item = items[0], mine = boxes && looking === item?.media_id ? item.boxes : []
  $('boxes').replaceChildren(...mine.map(box => {
    const [left, top, right, bottom] = BOXES.map(o => box[o]), element = make('div', undefined, top < .05 ? { class: 'high' } : {})
    Object.assign(element.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` })
    element.append(make('span', `${box.category} ${box.confidence.toFixed(2)}`))
    return element
  }))
}

function step(by) {
  const media = items[0].burst.map(o => o.media_id), at = media.indexOf(looking) + by
  if (at >= 0 && at < media.length) look(media[at])
}

// ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────────
async function answer(label, name) {
  if (state() !== 'ready') return
  state('saving')
  const media = items[0].media_id, body = { token: crypto.randomUUID(), media_id: media, label, reviewer }
  keep(`answer ${body.token}`, body)
  try { count(await post('answer', body)) } catch (error) {
    trouble(error.message)
    return state('ready')
  } finally { forget(`answer ${body.token}`) }
  answered.add(media)
  passed = passed.filter(o => o !== media)
  keep('passed', passed)
  say(`Saved: ${name ?? label}`)
  items.shift()
  await onward()
}

async function undo() {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  state('saving')
  try {
    const said = await post('undo', { token: crypto.randomUUID(), reviewer })
    if (!said.item) { say('There is no answer of yours to take back'); return items.length ? state('ready') : onward() }
    count(said.progress)
    answered.delete(said.item.media_id)
    items = [said.item, ...items.filter(o => o.media_id !== said.item.media_id)]
    say('Taken back')
    await onward()
  } catch (error) {
    trouble(error.message)
    state(items.length ? 'ready' : 'done')
  }
}

async function skip() {
  if (state() !== 'ready') return
  const media = items.shift().media_id
  passed = [...passed.filter(o => o !== media), media]
  keep('passed', passed)
  say('Skipped: it comes again at the end')
  await onward()
}

function toggleBoxes() {
  boxes = !boxes
  $('toggle').setAttribute('aria-pressed', boxes)
  drawBoxes()
}

// ── another animal: what was typed is read as `clean` would read it ─────────────────────────────────────────────────
let read = null
function openOther() {
  $('other').hidden = false
  $('typed').value = $('heard').textContent = ''
  read = null
  $('typed').focus()
}

async function hear() {
  const typed = $('typed').value.trim()
  const said = typed ? await fetch(`read?${new URLSearchParams({ typed })}`).then(o => o.json()) : null
  if (typed !== $('typed').value.trim()) return null
  read = said && { ...said, typed }
  $('heard').textContent = !said ? '' : !said.label ? 'That names nothing.' : said.known ? `${said.name} (${said.label})`
    : `${said.label}: not in the table of names. Check the spelling, then take it.`
  return read
}

async function takeOther() {
  const sure = read?.typed === $('typed').value.trim(), said = sure ? read : await hear().catch(error => trouble(error.message))
  if (!said?.label || (!sure && !said.known)) return  // an unknown name is shown before it is taken
  $('typed').blur()
  await answer(said.label, said.name)
}

// ── keys, buttons, alias ────────────────────────────────────────────────────────────────────────────────────────────
function act(label) {
  if (state() === 'ready') label === null ? openOther() : answer(label, settings.classes.find(o => o.label === label)?.name)
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector('dialog[open]')) return
  if (event.target.matches('input')) {
    if (event.key === 'Escape') { $('other').hidden = true; $('typed').blur() }
    return
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  if (!keys.has(key) || (key === 'Enter' && event.target.matches('button'))) return
  event.preventDefault()
  keys.get(key)()
}

function opinionOf(place) {
  const one = items[0]?.opinions[place]
  if (state() !== 'ready') return
  one?.label ? answer(one.label, one.name) : say(`${one?.who ?? 'Nobody'}: not there`)
}

function bindKeys() {
  for (const { label, key } of settings.classes) if (key) keys.set(key, () => act(label))
  const commands = { Enter: () => opinionOf(0), m: () => opinionOf(1), z: () => opinionOf(2), u: undo, s: skip, b: toggleBoxes,
                     ArrowLeft: () => state() === 'ready' && step(-1), ArrowRight: () => state() === 'ready' && step(1), '?': () => $('keys').showModal() }
  for (const [key, act] of Object.entries(commands)) keys.set(key, act)
  const words = [['Enter', 'the volunteers are right'], ['m', 'the model is right'], ['z', 'SpeciesNet is right'],
                 ...settings.classes.filter(o => o.key).map(o => [o.key, o.name]), ['u', 'undo'], ['s', 'skip: it comes again at the end'],
                 ['b', 'boxes on or off'], ['← →', 'look along the burst']]
  $('key-list').append(...words.flatMap(([key, text]) => [withKey(make('dt'), key), make('dd', text)]))
}

function classButton({ label, name, key, special }) {
  const button = withKey(make('button', undefined, { type: 'button', ...special && { class: 'special' } }), key)
  button.prepend(make('span', name))
  button.addEventListener('click', () => act(label))
  return button
}

function askAlias() {
  $('alias-name').value = reviewer ?? ''
  $('alias').showModal()
  return new Promise(resolve => {
    $('alias').onclose = () => { reviewer ? resolve() : $('alias').showModal() }
    $('alias').querySelector('form').onsubmit = event => {
      event.preventDefault()
      const alias = $('alias-name').value.trim()
      if (!alias) return
      reviewer = alias
      keep('reviewer', reviewer)
      $('alias').close()
    }
  })
}

async function changeAlias() {
  if (!['ready', 'done', 'waiting'].includes(state())) return
  await askAlias()
  $('who').textContent = reviewer
  items = []
  answered.clear()
  await onward()
}

async function begin() {
  settings = await (await fetch('settings')).json()
  reviewer = kept('reviewer')
  passed = kept('passed') ?? []
  bindKeys()
  $('classes').append(...settings.classes.map(classButton))
  $('names').append(...settings.names.map(o => make('option', undefined, { value: o })))
  for (const [id, act] of Object.entries({ undo, 'undo-last': undo, skip, toggle: toggleBoxes, who: changeAlias, help: () => $('keys').showModal(),
                                           leave: () => { $('other').hidden = true } })) $(id).addEventListener('click', act)
  $('typed').addEventListener('input', () => hear().catch(error => trouble(error.message)))
  $('other').addEventListener('submit', event => { event.preventDefault(); takeOther() })
  document.addEventListener('keydown', onKey)
  document.addEventListener('click', event => { if (event.detail) event.target.closest('button')?.blur() })  // Enter is for who tabs to it
  if (!reviewer) await askAlias()
  $('who').textContent = reviewer
  await sendKept()
  await onward()
}

begin().catch(error => trouble(`The page could not be started: ${error.message}`))
