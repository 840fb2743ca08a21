/** What scrolls can be reached with the keyboard, what does not is not in the way. */
export function reachable(box: HTMLElement): () => void {
  const look = () => {
    if (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  };
  const watch = new ResizeObserver(look);
  watch.observe(box);
  if (box.firstElementChild) watch.observe(box.firstElementChild);
  return () => watch.disconnect();
}
