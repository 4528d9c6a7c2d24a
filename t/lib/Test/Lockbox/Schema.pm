package Test::Lockbox::Schema;

# As much of JSON Schema (draft 2020-12) as the schemas of this repository
# need.  A keyword that is not known here is an error, never ignored.

use strict;
use warnings;

use B ();
use JSON::PP ();

my $JSON = JSON::PP->new->canonical->allow_nonref;

# Each gets the keyword's value, the instance, its place, the whole schema
# that the keyword stands in, and the validator; it returns what is wrong.
my %KEYWORDS = (
    '$ref'               => \&ref_,
    type                 => \&type,
    const                => \&const,
    enum                 => \&enum,
    pattern              => \&pattern,
    minLength            => \&min_length,
    minimum              => \&minimum,
    maximum              => \&maximum,
    items                => \&items,
    minItems             => \&min_items,
    required             => \&required,
    properties           => \&properties,
    additionalProperties => \&additional_properties,
    allOf                => \&all_of,
    if                   => \&if_,
    map({ $_ => sub { } } qw(then else $schema $id $defs title description)),
);


# A validator for a schema as JSON::PP decodes it; dies of a keyword that it
# does not know, wherever that stands.
sub new {
    my ($class, $schema) = @_;

    my $self = bless { schema => $schema }, $class;
    $self->know($schema, '#');

    return $self;
}

sub know {
    my ($self, $schema, $place) = @_;

    return if JSON::PP::is_bool($schema);
    ref $schema eq 'HASH' or die "no schema at $place\n";

    for my $keyword (sort keys %$schema) {
        my $value = $schema->{$keyword};
        my $here = "$place/$keyword";

        $KEYWORDS{$keyword} or die "unknown keyword $here\n";

        if ($keyword =~ /^(?:properties|\$defs)$/) {
            $self->know($value->{$_}, "$here/$_") for sort keys %$value;
        } elsif ($keyword =~ /^(?:items|if|then|else|additionalProperties)$/) {
            $self->know($value, $here);
        } elsif ($keyword eq 'allOf') {
            $self->know($value->[$_], "$here/$_") for 0 .. $#$value;
        } elsif ($keyword eq '$ref') {
            $self->resolve($value);
        }
    }
}

# What is wrong with the value, one text for each fault; nothing if it is
# valid.
sub faults {
    my ($self, $value) = @_;

    return $self->check($self->{schema}, $value, '');
}

sub check {
    my ($self, $schema, $value, $place) = @_;

    if (JSON::PP::is_bool($schema)) {
        return $schema ? () : ("$place must not be there");
    }

    return map {
        $KEYWORDS{$_}->($schema->{$_}, $value, $place, $schema, $self)
    } sort keys %$schema;
}

sub resolve {
    my ($self, $ref) = @_;

    my ($name) = $ref =~ m{^#/\$defs/(\w+)$} or die "cannot follow $ref\n";

    return $self->{schema}{'$defs'}{$name} // die "nothing at $ref\n";
}


# Types.  Perl's scalars do not say what they were in JSON, but their flags
# do: a number that JSON::PP has decoded was never a string.

sub type_of {
    my ($value) = @_;

    return 'null' unless defined $value;
    return 'boolean' if JSON::PP::is_bool($value);
    return { HASH => 'object', ARRAY => 'array' }->{ ref $value }
        if ref $value;

    my $flags = B::svref_2object(\$value)->FLAGS;

    return 'string' if $flags & B::SVf_POK
                       || !($flags & (B::SVf_IOK | B::SVf_NOK));
    return $value == int $value ? 'integer' : 'number';
}

sub is_a {
    my ($value, $type) = @_;

    my $found = type_of($value);

    return $found eq $type || $type eq 'number' && $found eq 'integer';
}

# Equality as JSON Schema has it, for scalars.
sub same {
    my ($left, $right) = @_;

    return is_a($left, 'number') && is_a($right, 'number')
        ? $left == $right
        : $JSON->encode([$left]) eq $JSON->encode([$right]);
}


# Keywords

sub ref_ {
    my ($ref, $value, $place, undef, $self) = @_;

    return $self->check($self->resolve($ref), $value, $place);
}

sub type {
    my ($type, $value, $place) = @_;

    return is_a($value, $type) ? ()
        : ("$place is no $type but a " . type_of($value));
}

sub const {
    my ($const, $value, $place) = @_;

    return same($const, $value) ? () : ("$place is not \"$const\"");
}

sub enum {
    my ($enum, $value, $place) = @_;

    return grep({ same($_, $value) } @$enum) ? ()
        : ("$place is none of its values: " . $JSON->encode($value));
}

sub pattern {
    my ($pattern, $value, $place) = @_;

    # "$" of JSON Schema is not before a newline at the end, as Perl's is
    my $perl = $pattern =~ s/(?<!\\)\$(?=\)|\||\z)/\\z/gr;

    return !is_a($value, 'string') || $value =~ /$perl/ ? ()
        : ("$place does not match $pattern: \"$value\"");
}

sub min_length {
    my ($min, $value, $place) = @_;

    return !is_a($value, 'string') || length $value >= $min ? ()
        : ("$place is too short");
}

sub minimum {
    my ($min, $value, $place) = @_;

    return !is_a($value, 'number') || $value >= $min ? ()
        : ("$place is less than $min");
}

sub maximum {
    my ($max, $value, $place) = @_;

    return !is_a($value, 'number') || $value <= $max ? ()
        : ("$place is more than $max");
}

sub items {
    my ($schema, $value, $place, undef, $self) = @_;

    return unless is_a($value, 'array');
    return map { $self->check($schema, $value->[$_], "$place/$_") }
           0 .. $#$value;
}

sub min_items {
    my ($min, $value, $place) = @_;

    return !is_a($value, 'array') || @$value >= $min ? ()
        : ("$place has too few items");
}

sub required {
    my ($names, $value, $place) = @_;

    return unless is_a($value, 'object');
    return map { "$place/$_ is missing" }
           grep { !exists $value->{$_} } @$names;
}

sub properties {
    my ($schemas, $value, $place, undef, $self) = @_;

    return unless is_a($value, 'object');
    return map { $self->check($schemas->{$_}, $value->{$_}, "$place/$_") }
           grep { exists $value->{$_} } sort keys %$schemas;
}

sub additional_properties {
    my ($schema, $value, $place, $whole, $self) = @_;

    return unless is_a($value, 'object');

    my $named = $whole->{properties} // {};

    return map { $self->check($schema, $value->{$_}, "$place/$_") }
           grep { !exists $named->{$_} } sort keys %$value;
}

sub all_of {
    my ($schemas, $value, $place, undef, $self) = @_;

    return map { $self->check($_, $value, $place) } @$schemas;
}

sub if_ {
    my ($condition, $value, $place, $whole, $self) = @_;

    my $branch = $self->check($condition, $value, $place) ? 'else' : 'then';

    return exists $whole->{$branch}
        ? $self->check($whole->{$branch}, $value, $place) : ();
}


1;
