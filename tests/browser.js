// What a page is like for whoever looks at it, asked of the page itself: each function returns
// what is wrong, as sentences. Kept to what runs while the page's own JavaScript is off.

const CONTROLS =
  'a[href], area[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex]'

function named(element) {
  const id = element.id ? `#${element.id}` : ''
  const text = (element.textContent || element.value || '').replace(/\s+/g, ' ').trim()
  return `<${element.localName}${id}>${text ? ` "${text.slice(0, 60)}"` : ''}`
}

const px = (number) => `${Math.round(number * 10) / 10}px`

function shown(element) {
  return element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0
}

// Read aloud and not shown: cut down to a dot, as screen readers' texts and skip links are.
function unseen(element) {
  for (let one = element; one; one = one.parentElement) {
    const style = getComputedStyle(one)
    const cut = style.overflow !== 'visible' || style.clipPath !== 'none' || style.clip !== 'auto'
    if (cut && ['absolute', 'fixed'].includes(style.position)) {
      if (one.offsetWidth <= 1 || one.offsetHeight <= 1) return true
    }
  }
  return false
}

function texts() {
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.data.trim() || !shown(element) || unseen(element)) continue
    const range = document.createRange()
    range.selectNodeContents(walker.currentNode)
    const boxes = [...range.getClientRects()].filter((box) => box.width && box.height)
    if (boxes.length) found.push({ element, text: walker.currentNode.data.trim(), boxes })
  }
  return found
}

function controls() {
  return [...document.querySelectorAll(CONTROLS)].filter(
    (one) => shown(one) && !one.disabled && !one.closest('[inert]'),
  )
}

// --- width, and what is cut off ---

function sticksOut() {
  const wide = innerWidth
  const all = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)
  if (all <= wide) return []
  const out = [...document.body.querySelectorAll('*')].filter((one) => {
    const box = one.getBoundingClientRect()
    return shown(one) && !unseen(one) && (box.left < -0.5 || box.right > wide + 0.5)
  })
  const deepest = out.filter((one) => !out.some((other) => other !== one && one.contains(other)))
  return [
    `${px(wide)} wide, it scrolls sideways to ${px(all)}: ${deepest.slice(0, 5).map(named)}`,
  ]
}

function cutOff() {
  const wrong = []
  const seen = texts()
  for (const { element, boxes } of seen) {
    for (let one = element; one !== document.body; one = one.parentElement) {
      const style = getComputedStyle(one)
      const holds = one.matches('button, input, select') || /hidden|clip/.test(style.overflow)
      if (!holds) continue
      const box = one.getBoundingClientRect()
      const leaves = (text) =>
        text.left < box.left - 1 || text.right > box.right + 1 ||
        text.top < box.top - 1 || text.bottom > box.bottom + 1
      if (boxes.some(leaves)) wrong.push(`${px(innerWidth)} wide, text leaves ${named(one)}`)
    }
    if (boxes.some((box) => box.left < -1 || box.right > innerWidth + 1)) {
      wrong.push(`${px(innerWidth)} wide, text leaves the screen: ${named(element)}`)
    }
  }
  const laps = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4
  // What stays in sight while the page scrolls lies over it by intent, on a ground of its own.
  const stays = (one) => one.closest('.everything') !== null
  // A name within a sentence shares its lines.
  const within = (a, b) => a.contains(b) || b.contains(a)
  const flat = seen.filter(({ element }) => !stays(element))
  flat.forEach((a, index) => {
    for (const b of flat.slice(index + 1)) {
      if (within(a.element, b.element)) continue
      if (a.boxes.some((one) => b.boxes.some((other) => laps(one, other)))) {
        wrong.push(`${px(innerWidth)} wide, ${named(a.element)} lies over ${named(b.element)}`)
      }
    }
  })
  return [...new Set(wrong)]
}

// --- what is pressed ---

function small() {
  const wrong = []
  for (const control of controls()) {
    // A skip link has its size only while it has the focus.
    if (unseen(control)) control.focus({ preventScroll: true })
    const { width, height } = control.getBoundingClientRect()
    const button = control.matches(
      'button, [role="button"], [type="submit"], [type="button"], [type="reset"], [type="image"]',
    )
    if (width < 24 || height < 24) {
      wrong.push(`${named(control)} is ${px(width)} by ${px(height)}, below 24 by 24`)
    } else if (button && height < 44) {
      wrong.push(`${named(control)} is ${px(height)} high, below 44`)
    }
    if (document.activeElement === control) control.blur()
  }
  return wrong
}

// --- the keyboard ---

// The order in which Tab should stop. Of the radio buttons of one name it stops at one.
function stops() {
  const radio = (one) => one.type === 'radio'
  const all = controls().filter((one) => one.tabIndex >= 0)
  const order = all.filter((one) => {
    if (!radio(one)) return true
    const group = all.filter((o) => radio(o) && o.name === one.name && o.form === one.form)
    return one === (group.find((o) => o.checked) || group[0])
  })
  window.stopsInOrder = order
  // Tab goes on from where one was last: that is now the beginning.
  const body = document.body
  const had = body.getAttribute('tabindex')
  body.setAttribute('tabindex', '-1')
  body.focus()
  if (had === null) body.removeAttribute('tabindex')
  else body.setAttribute('tabindex', had)
  return order.length
}

function stoppedAt(index) {
  const wanted = window.stopsInOrder[index]
  const active = document.activeElement
  if (!wanted) return active === document.body ? [] : [`after the last, Tab stops at ${named(active)}`]
  if (active !== wanted) return [`Tab stops at ${named(active)} and not at ${named(wanted)}`]
  const wrong = []
  if (!active.matches('a[href], area[href], button, input, select, textarea, summary')) {
    wrong.push(`${named(active)} has the focus, and no key does anything there`)
  }
  const style = getComputedStyle(active)
  const width = parseFloat(style.outlineWidth)
  if (style.outlineStyle === 'none' || (style.outlineStyle !== 'auto' && width < 2)) {
    wrong.push(`${named(active)} shows no outline of 2px when it has the focus`)
  } else if (style.outlineStyle !== 'auto') {
    const seen = contrast(colour(style.outlineColor), background(active.parentElement))
    if (seen < 3) wrong.push(`${named(active)} has an outline of contrast ${seen.toFixed(2)}`)
  }
  const box = active.getClientRects()[0]
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2]
  const top = document.elementFromPoint(x, y)
  const own = top && (active.contains(top) || [...(active.labels || [])].some((l) => l.contains(top)))
  if (!own) wrong.push(`${named(active)} has the focus under ${top ? named(top) : 'the edge'}`)
  return wrong
}

// --- colours ---

let canvas

// Red, green, blue (0 to 255) and how opaque (0 to 1), whatever notation CSS gives it in.
function colour(css) {
  canvas ||= new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  canvas.clearRect(0, 0, 1, 1)
  canvas.fillStyle = css
  canvas.fillRect(0, 0, 1, 1)
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
  return [r, g, b, a / 255]
}

function over(front, back) {
  return [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1)
}

// What the browser paints below a page that paints nothing.
function bare() {
  return colour(getComputedStyle(document.documentElement).colorScheme.includes('dark')
    && matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#fff')
}

function background(element) {
  const layers = []
  for (let one = element; one; one = one.parentElement) {
    const layer = colour(getComputedStyle(one).backgroundColor)
    layers.push(layer)
    if (layer[3] === 1) break
  }
  return layers.reduceRight((back, layer) => over(layer, back), bare())
}

// WCAG 2.2, "relative luminance" and "contrast ratio".
function luminance(rgb) {
  const [r, g, b] = rgb.slice(0, 3).map((value) => {
    const part = value / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

function contrast(a, b) {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return (light + 0.05) / (dark + 0.05)
}

// On paper a browser leaves backgrounds out, unless the reader asks for them.
function faint(onPaper) {
  const wrong = []
  for (const { element, text } of texts()) {
    if (element.closest(':disabled')) continue
    const style = getComputedStyle(element)
    const back = onPaper ? [255, 255, 255, 1] : background(element)
    const size = parseFloat(style.fontSize)
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    const seen = contrast(over(colour(style.color), back), back)
    if (seen < (large ? 3 : 4.5)) {
      wrong.push(`"${text.slice(0, 60)}" in <${element.localName}> has contrast ${seen.toFixed(2)}`)
    }
  }
  return wrong
}

function brightness() {
  const painted = [document.body, document.documentElement].find(
    (one) => colour(getComputedStyle(one).backgroundColor)[3],
  )
  return luminance(painted ? background(painted) : bare())
}

// Forced colours take backgrounds and shadows away: only a border shows where a control is.
function edgeless() {
  const drawn = controls().filter((one) => one.matches('button, select, textarea, input'))
  return drawn
    .filter((one) => {
      const style = getComputedStyle(one)
      if (['checkbox', 'radio'].includes(one.type)) return style.appearance === 'none'
      return style.borderTopStyle === 'none' || parseFloat(style.borderTopWidth) < 1
    })
    .map((one) => `${named(one)} has no border`)
}

function unforced() {
  return [...document.querySelectorAll('body, body *')]
    .filter((one) => getComputedStyle(one).forcedColorAdjust === 'none')
    .map((one) => `${named(one)} keeps its own colours`)
}

// --- what is there to be read ---

// What can be pressed, and a section that only offers something to press, are no use on paper.
function words() {
  const offers = (section) =>
    section?.querySelector('button') && !section.querySelector('input:not([type="hidden"])')
  return texts()
    .filter(({ element }) => !element.closest('a, button, summary') && !offers(element.closest('section')))
    .map(({ text }) => text.replace(/\s+/g, ' '))
}

function weights() {
  const loaded = ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  return Object.fromEntries(loaded.map((one) => [one.name, one.decodedBodySize]))
}

function wear(css) {
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(css)
  window.worn = [...document.adoptedStyleSheets]
  document.adoptedStyleSheets = [...window.worn, sheet]
}

function unwear() {
  document.adoptedStyleSheets = window.worn
}
