// Two pictures in one frame, and a slider that moves the divide between them.

export class Compare {
  #element;
  #slider;
  #sides;
  #views = [];

  constructor(element) {
    const find = (id) => element.querySelector(`#${id}`);
    this.#element = element;
    this.#slider = find('slider');
    this.#sides = ['left', 'right'].map((side) => ({ select: find(side), canvas: find(`${side}-canvas`) }));
    this.#slider.addEventListener('input', () => this.#move());
    for (const { select } of this.#sides) select.addEventListener('change', () => this.#paint());
  }

  /**
   * Offer other views, and keep the old choice where it is among them.
   * @param {{label: string, description: string, paint: (canvas: HTMLCanvasElement) => void}[]} views
   * @param {number[]} chosen the left and the right one, where the old choice is gone
   */
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
    this.#move();
  }

  #move() {
    const { value } = this.#slider;
    const [left, right] = this.#sides.map(({ select }) => select.value);
    this.#element.style.setProperty('--divide', `${value}%`);
    this.#slider.setAttribute('aria-valuetext', `${Math.round(value)} % ${left}, the rest ${right}`);
  }
}
