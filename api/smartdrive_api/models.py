"""The API's own tables. Instants are UTC; secrets are kept as hashes only."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, MetaData, String, UniqueConstraint, Uuid, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_EMAIL: Final = 254  # RFC 5321, section 4.5.3.1.3
MAX_LABEL: Final = 60

_NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What all tables share: names of constraints, and one type each for instants and identities."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it so
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        bytes: LargeBinary(),
    }


class Registration(Base):
    """Somebody who asks for an account and has not been confirmed by the operator."""

    __tablename__ = "registrations"

    registration_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str] = mapped_column(String(MAX_EMAIL))
    password_hash: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Account(Base):
    """Somebody who may sign in."""

    __tablename__ = "accounts"

    account_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str] = mapped_column(String(MAX_EMAIL), unique=True)  # lower case
    password_hash: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]
    # What its messages name. Random: whoever could guess it could send in its place, and be believed first.
    device_id: Mapped[str] = mapped_column(String(40), unique=True, default=lambda: f"app-{uuid4()}")


class Session(Base):
    """One sign-in: a family of refresh tokens, of which one at a time is good."""

    __tablename__ = "sessions"

    session_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id", ondelete="CASCADE"), index=True)
    device: Mapped[str | None] = mapped_column(String(MAX_LABEL))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)  # absolute
    revoked_at: Mapped[datetime | None]


class RefreshToken(Base):
    """A refresh token that was given out, as the SHA-256 of its 256 random bits."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.session_id", ondelete="CASCADE"), index=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # sliding: moved on by each token that follows
    used_at: Mapped[datetime | None]


class RateLimit(Base):
    """How far ahead of its allowance somebody is (generic cell rate algorithm: the theoretical arrival time)."""

    __tablename__ = "rate_limits"
    __table_args__ = (Index(None, "next_at"),)

    subject: Mapped[bytes] = mapped_column(primary_key=True)  # SHA-256 of what is limited and for whom
    next_at: Mapped[datetime]


class Vehicle(Base):
    """A vehicle as one account registered it: several may register the same, and none sees the others.

    It shows nothing of the vehicle until the operator has confirmed it. What is released forgets VIN and name;
    that it was confirmed stays known, because it bounds what the next owner may see.
    """

    __tablename__ = "vehicles"
    __table_args__ = (
        Index(
            "uq_vehicles_owner_id_vehicle_id",
            "owner_id",
            "vehicle_id",
            unique=True,
            postgresql_where=text("released_at IS NULL"),
        ),
        Index(None, "vehicle_id"),
    )

    registration_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id", ondelete="CASCADE"))
    vin: Mapped[str | None] = mapped_column(String(17))
    vehicle_id: Mapped[str] = mapped_column(String(26))  # the lake's pseudonym
    name: Mapped[str | None] = mapped_column(String(MAX_LABEL))
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    data_from: Mapped[datetime | None]  # null: from the beginning
    released_at: Mapped[datetime | None]


class VehicleShare(Base):
    """An address whose account, if there is one, may see a vehicle."""

    __tablename__ = "vehicle_shares"
    __table_args__ = (UniqueConstraint("registration_id", "email"), Index(None, "email"))

    share_id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    registration_id: Mapped[UUID] = mapped_column(ForeignKey("vehicles.registration_id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(MAX_EMAIL))
    created_at: Mapped[datetime]
