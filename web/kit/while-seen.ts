/** Numbers of a block that nobody sees: they stand still until it is shown or printed. */

import { computed, type ReadonlySignal, type Signal, signal } from '@preact/signals'

const paper = matchMedia('print')
const printing = signal(paper.matches)
paper.addEventListener('change', () => (printing.value = paper.matches))
addEventListener('beforeprint', () => (printing.value = true))
addEventListener('afterprint', () => (printing.value = false))

/** The source while it is seen, else what it was; the first value is always taken, so that a block has its rows from the beginning. */
export function whileSeen<T>(source: Signal<T> | ReadonlySignal<T>, isSeen: () => boolean, isEmpty: (value: T) => boolean = () => false): ReadonlySignal<T> {
  let held = source.peek()
  return computed(() => {
    if (isSeen() || printing.value || isEmpty(held)) held = source.value
    return held
  })
}
