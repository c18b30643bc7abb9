// [contrast, element, text] of every visible text of the page and of the shadows in it, the lowest first.
(() => {
  const shade = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * shade(red) + 0.7152 * shade(green) + 0.0722 * shade(blue);
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const above = (element) => element.parentElement ?? element.getRootNode().host;
  const ground = (element) => {
    for (let one = element; one; one = above(one)) {
      const found = colour(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const all = (root) => [...root.querySelectorAll("*")].flatMap((one) => (one.shadowRoot ? [one, ...all(one.shadowRoot)] : [one]));
  const hasText = (one) => [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  return all(document.body)
    .filter((one) => hasText(one) && one.checkVisibility() && !one.closest(".hidden") && !one.disabled)
    .map((one) => {
      const [high, low] = [luminance(colour(getComputedStyle(one).color)), luminance(ground(one))].sort((a, b) => b - a);
      return [(high + 0.05) / (low + 0.05), one.localName, one.textContent.slice(0, 40)];
    })
    .sort(([one], [other]) => one - other);
})();
