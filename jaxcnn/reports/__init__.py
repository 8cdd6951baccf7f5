"""Reports: what a trained model looks like inside, as pictures and one page."""

from jaxcnn.reports.inspection import write_report
from jaxcnn.reports.pages import Picture, Section, Table, write_page
from jaxcnn.reports.subjects import Subject, subject

__all__ = ["Picture", "Section", "Subject", "Table", "subject", "write_page", "write_report"]
