"""What is in the image: image-level labels, names, colours, the active one."""

from __future__ import annotations

from diffseg.domain import ImageLabels, LabelTable, ModelCard, Presence
from diffseg.errors import UserError
from napari_diffseg.presenters.ports import JournalPort
from napari_diffseg.presenters.tables import (
    extended,
    find_label,
    key_of,
    recolored,
    redefined,
    renamed,
    table_for,
    with_values,
)
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, LabelsView, Notices

LAST_VALUE = 255


class LabelsPresenter:
    """Panel "What is in it".

    Parameters
    ----------
    session : Session
    view : LabelsView
    canvas : Canvas
    journal : JournalPort
    notices : Notices
    """

    def __init__(
        self,
        session: Session,
        view: LabelsView,
        canvas: Canvas,
        journal: JournalPort,
        notices: Notices,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._journal = journal
        self._notices = notices
        self._active = 1
        view.presence_given.connect(self.say_presence)
        view.label_chosen.connect(self.choose)
        view.renamed.connect(self.rename)
        view.recolored.connect(self.recolor)
        view.added.connect(self.add)
        canvas.label_changed.connect(self._on_label)
        canvas.edited.connect(self._on_edited)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.model_changed.connect(self._on_model)
        self._show()

    @property
    def active(self) -> int:
        """Value that is painted with."""
        return self._active

    def say_presence(self, name: str, presence: Presence) -> None:
        """Note what the annotator says of a structure in the current case."""
        case = self._session.current
        if case is None or case.labels[name] is presence:
            return
        if case.entry is not None and case.locked:
            self._notices.show(case.locked, "warning")
            self._show()
            return
        states = dict(case.labels)
        if presence is Presence.UNKNOWN:
            states.pop(name, None)
        else:
            states[name] = presence
        self._set_labels(case, ImageLabels(states))

    def choose(self, value: int) -> None:
        """Paint with this label."""
        if value != self._active:
            self._active = value
            self._canvas.set_label(value)
            self._show()

    def rename(self, value: int, name: str) -> None:
        """Call a structure otherwise; what was said of it stays said."""
        case = self._session.current
        label = None if case is None else find_label(case.table, value)
        if case is None or label is None or label.name == name.strip():
            return
        try:
            table = renamed(case.table, value, name)
        except UserError as error:
            self._refuse(error)
            return
        states = dict(case.labels)
        if label.name in states:
            states[name.strip()] = states.pop(label.name)
            case.labels = ImageLabels(states)
            self._journal.replace(case.id, labels=case.labels)
        self._set_table(case, table)

    def recolor(self, value: int, color: str) -> None:
        """Show a structure in another colour."""
        case = self._session.current
        label = None if case is None else find_label(case.table, value)
        if case is not None and label is not None and label.color != color:
            try:
                self._set_table(case, recolored(case.table, value, color))
            except ValueError:
                self._refuse(UserError(f"colour {color!r} is not #rrggbb"))

    def add(self, name: str) -> None:
        """Add a structure to the current case, and paint with it."""
        case = self._session.current
        if case is None:
            return
        try:
            table = extended(case.table, name)
        except UserError as error:
            self._refuse(error)
            return
        self._active = table.values[-1]  # before others hear of the table
        self._set_table(case, table)
        self._canvas.set_label(self._active)

    def fit(self, case: Case, card: ModelCard) -> None:
        """Give a case the names and values that a model works with.

        Raises
        ------
        UserError
            The mask holds a structure that means something else to the model.
        """
        table = table_for(case, card)
        case.table_model, case.model_table = key_of(card), card.labels
        if table != case.table:
            if redefined(case.table, table):  # undone steps would mean other things
                self._canvas.forget_history(case)
            self._set_table(case, table)

    def _refuse(self, error: UserError) -> None:
        self._notices.show(str(error), "warning")
        self._show()  # the view goes back to what is

    def _set_table(self, case: Case, table: LabelTable) -> None:
        case.table = table
        self._journal.replace(case.id, table=table)
        self._canvas.show_table(case)
        self._session.change(case, "table")

    def _set_labels(self, case: Case, labels: ImageLabels) -> None:
        case.labels = labels
        self._journal.replace(case.id, labels=labels)
        self._session.change(case, "labels")

    def _on_model(self, card: ModelCard | None) -> None:
        if card is None:
            return
        for case in self._session.cases:
            if case.entry is not None and case.entry.fixed:
                continue  # a project's own table changes when something is proposed
            try:
                self.fit(case, card)
            except UserError as error:
                self._notices.show(f"{case.name}: {error}", "warning")

    def _on_label(self, value: int) -> None:
        if value != self._active and 1 <= value <= LAST_VALUE:
            self._active = value
            self._show()

    def _on_edited(self, case_id: str) -> None:
        """Name what was painted with a label that has no name yet."""
        case = self._session.case(case_id)
        if case is not None and self._active not in case.table.values:
            self._set_table(case, with_values(case.table, (self._active,)))

    def _on_current(self, case: Case | None) -> None:
        if case is not None and self._active not in case.table.values:
            self._active = case.table.values[0]
        if case is not None:
            self._canvas.set_label(self._active)
        self._show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in ("labels", "table"):
            if aspect == "table" and self._active not in case.table.values:
                self.choose(case.table.values[0])
            self._show()

    def _show(self) -> None:
        case = self._session.current
        labels = () if case is None else case.table.labels
        said = ImageLabels() if case is None else case.labels
        rows = [(label, said[label.name]) for label in labels]
        editable = case is not None and case.locked is None
        self._view.show_labels(rows, self._active, editable)
