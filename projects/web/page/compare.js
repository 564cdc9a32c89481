// Two pictures in one frame, and a slider that moves the divide between them.

/** What can be shown: `label`, `description` for who does not see it, and `paint`, a function of a canvas. */
export class Compare {
  #views = [];
  #sides;

  constructor(element) {
    const find = (id) => element.querySelector(`#${id}`);
    this.#sides = ['left', 'right'].map((side) => ({ select: find(side), canvas: find(`${side}-canvas`) }));
    for (const { select } of this.#sides) select.addEventListener('change', () => this.#paint());
    const slider = find('slider');
    const move = () => {
      element.style.setProperty('--divide', `${slider.value}%`);
      const [left, right] = this.#sides.map(({ select }) => select.selectedOptions[0]?.label);
      slider.setAttribute('aria-valuetext', `${Math.round(slider.value)} % ${left}, the rest ${right}`);
    };
    element.addEventListener('input', move);
    this.move = move;
  }

  /** Offer other views; `chosen` are the indices of the left and the right one, where the old choice is gone. */
  show(views, chosen) {
    this.#views = views;
    this.#sides.forEach(({ select }, side) => {
      const old = views.findIndex(({ label }) => label === select.value);
      select.replaceChildren(...views.map(({ label }) => new Option(label)));
      select.selectedIndex = old < 0 ? chosen[side] : old;
    });
    this.#paint();
  }

  #paint() {
    for (const { select, canvas } of this.#sides) {
      const view = this.#views[select.selectedIndex];
      view.paint(canvas);
      canvas.setAttribute('aria-label', view.description);
    }
    this.move();
  }
}
